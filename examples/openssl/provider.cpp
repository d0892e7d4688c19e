// An OpenSSL 3 provider whose ciphers run in virtual machines: `openssl enc -provider virtine ...`.
// SPDX-License-Identifier: MIT
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <new>

#include "cbc.hpp"
#include "context.hpp"
#include "gcm.hpp"

namespace {

using provider::form;
using provider::functions;

// Of two that fit a query alike OpenSSL takes the first, so calls are what one gets without asking.
constexpr const char* calls = "provider=virtine,virtine.form=calls";
constexpr const char* session = "provider=virtine,virtine.form=session";
constexpr const char* cbc_names = "AES-128-CBC:AES128:2.16.840.1.101.3.4.1.2";
constexpr const char* gcm_names = "AES-128-GCM:id-aes128-GCM:2.16.840.1.101.3.4.1.6";

const OSSL_ALGORITHM ciphers[] = {
    {cbc_names, calls, functions<provider::cbc, form::calls>::table, "AES-128-CBC, virtine"},
    {gcm_names, calls, functions<provider::gcm, form::calls>::table, "AES-128-GCM, virtine"},
    {cbc_names, session, functions<provider::cbc, form::session>::table, "AES-128-CBC, session"},
    {gcm_names, session, functions<provider::gcm, form::session>::table, "AES-128-GCM, session"},
    {nullptr, nullptr, nullptr, nullptr}};

const OSSL_ALGORITHM* query(void*, int operation, int* changes) {
  *changes = 0;
  return operation == OSSL_OP_CIPHER ? ciphers : nullptr;
}

const OSSL_PARAM* gettable(void*) {
  static const OSSL_PARAM all[] = {OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, nullptr, 0),
                                   OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, nullptr, 0),
                                   OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, nullptr), OSSL_PARAM_END};
  return all;
}

int get(void*, OSSL_PARAM* wanted) {
  const auto answer = [&](const char* name, const char* text) {
    OSSL_PARAM* const found = OSSL_PARAM_locate(wanted, name);
    return found == nullptr || OSSL_PARAM_set_utf8_ptr(found, text) != 0;
  };
  OSSL_PARAM* const status = OSSL_PARAM_locate(wanted, OSSL_PROV_PARAM_STATUS);
  return answer(OSSL_PROV_PARAM_NAME, "AES in virtines") && answer(OSSL_PROV_PARAM_VERSION, "1") &&
         (status == nullptr || OSSL_PARAM_set_int(status, 1) != 0);
}

const OSSL_ITEM* reasons(void*) {
  return provider::reason_strings;
}

void teardown(void* made) {
  delete static_cast<provider::instance*>(made);
}

template <class F>
OSSL_DISPATCH entry(int id, F* function) {
  // Sound: OpenSSL calls it as what `id` says it is.
  return {id, reinterpret_cast<void (*)()>(function)};
}

const OSSL_DISPATCH dispatch[] = {entry(OSSL_FUNC_PROVIDER_TEARDOWN, teardown),
                                  entry(OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, gettable),
                                  entry(OSSL_FUNC_PROVIDER_GET_PARAMS, get),
                                  entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
                                  entry(OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, reasons),
                                  {0, nullptr}};

}  // namespace

extern "C" [[gnu::visibility("default")]] int OSSL_provider_init(const OSSL_CORE_HANDLE* core,
                                                                 const OSSL_DISPATCH* offered,
                                                                 const OSSL_DISPATCH** given,
                                                                 void** made) {
  *made = new (std::nothrow) provider::instance(core, offered);
  *given = dispatch;
  return *made != nullptr;
}
