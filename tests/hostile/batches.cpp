// Attacks of jobs on the batch that they run in: its loop, its header, each other's frames.
// SPDX-License-Identifier: MIT
#include <array>
#include <tuple>
#include <vector>

#include <virtine/x86/loops.hpp>

#include "hostile.hpp"

using namespace hostile;
using namespace std::chrono_literals;
namespace x86 = virtine::x86;

namespace {

using job = std::tuple<word, word, word, word>;

job attack(std::string_view name, word a = 0, word b = 0, word c = 0) {
  return {address_of(name), a, b, c};
}

// Where the host puts the frame of an attack: behind the header, each 48 bytes behind its link.
word frame_of(word index) {
  return where.arguments + 32 + 64 * index;
}
const word function_word = where.arguments + offsetof(x86::batch_header, function);
const word frame_word = where.arguments + offsetof(x86::batch_header, frame);

struct batches {
  arena a;
  virtine::virtine_fn<word(word, word, word, word), image::attack> fn{a.pool};

  virtine::result<std::vector<word>> run(const std::vector<job>& jobs) {
    return fn.with({.timeout = 100ms}).together(jobs);
  }

  // The batch fails by its guest's own fault, and nothing else does.
  void expect_failure(const std::vector<job>& jobs, virtine::errc code) {
    const auto ended = run(jobs);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == code);
    if (ended.error().job) CHECK(*ended.error().job < jobs.size());
    a.expect_good();
  }
};

}  // namespace

TEST_CASE("H49: a job that overwrites what runs its batch gets no further than its machine",
          "[hostile]") {
  batches b;
  const job idle = attack("pause");
  // The function of those that follow.
  b.expect_failure({attack("write", function_word, 0), idle}, virtine::errc::guest_fault);
  b.expect_failure({attack("write", function_word, where.tables), idle},
                   virtine::errc::guest_fault);
  // The frame that ran, so that the next one is looked for elsewhere.
  for (const word address : {word{0}, word{8}, where.tables, where.end, ~word{0} - 7, word{1} << 47,
                             word{x86::gdt_address}}) {
    b.expect_failure({attack("write", frame_word, address), idle}, virtine::errc::guest_fault);
  }
  // A ring.
  b.expect_failure({attack("write", frame_of(0) - 16, frame_of(0)), idle},
                   virtine::errc::timed_out);
  // An index that is none of this batch.
  for (const word index : {word{2}, word{1} << 32, ~word{0}}) {
    const auto ended = b.run({attack("write", frame_of(1) - 8, index), attack("undefined")});
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == virtine::errc::guest_fault);
    CHECK_FALSE(ended.error().job);
    b.a.expect_good();
  }
  // An end that is none: what has not run has no result.
  const auto cut = b.run({attack("write", frame_of(0) - 16, 0), attack("spoil", 0, 1)});
  REQUIRE(cut);
  CHECK(*cut == std::vector<word>{0, 0});
  b.a.expect_good();
}

TEST_CASE("H50: jobs reach each other's frames, and the host looks at its own places only",
          "[hostile]") {
  batches b;
  const auto changed = b.run({attack("pause"), attack("write", frame_of(0), 77),
                              attack("write", frame_of(3) + 16, 99), attack("write", 0, 1)});
  REQUIRE_FALSE(changed);  // The last one writes to where the one before it told it to.
  CHECK(changed.error().fault.address == 99);
  CHECK(changed.error().job == 3u);
  b.a.expect_good();
  const auto forged = b.run({attack("pause"), attack("write", frame_of(0), 77)});
  REQUIRE(forged);
  CHECK(*forged == std::vector<word>{77, 0});
  CHECK(b.a.pool.size() == 1);
  b.a.expect_good();

  virtine::virtine_fn<void(std::span<word>, std::span<word>, word), image::spans> spans(b.a.pool);
  std::array<word, 2> first{1, 2};
  std::array<word, 1> second{3};
  const std::vector<std::tuple<std::span<word>, std::span<word>, word>> jobs{
      {first, second, ~word{0}}, {second, first, where.tables}};
  REQUIRE(spans.together(jobs));
  CHECK(first == std::array<word, 2>{22, 2});
  CHECK(second == std::array<word, 1>{11});
  b.a.expect_good();
}

TEST_CASE("H51: a job that leaves the guest by itself ends its batch", "[hostile]") {
  batches b;
  for (const word count : {word{1}, word{3}}) {
    std::vector<job> jobs(count, attack("pause"));
    jobs.back() = attack("done_at_once");
    b.expect_failure(jobs, virtine::errc::bad_reply);
    CHECK(b.a.pool.size() == 1);
  }
  b.expect_failure({attack("flags_done"), attack("pause")}, virtine::errc::bad_reply);
  b.expect_failure({attack("trap_flag_done"), attack("pause")}, virtine::errc::guest_fault);
  b.expect_failure({attack("hypercall", 1, where.arguments), attack("pause")},
                   virtine::errc::hypercall_denied);
}

TEST_CASE("H52: nothing is left of a batch for the next", "[hostile]") {
  batches b;
  const word pattern = 0xa5a5a5a5a5a5a5a5;
  for (int round = 0; round < 3; ++round) {
    REQUIRE(b.run({attack("spoil", 0, pattern), attack("spoil", 0, ~pattern)}));
    b.a.expect_good();
    std::vector<job> writes;
    for (word at = data; at < where.guard; at += 4096) {
      // Not the page that holds the batch itself, but for its end.
      writes.push_back(attack("write", at + 4088, pattern));
    }
    REQUIRE(b.run(writes));
    b.a.expect_good();
    CHECK(b.a.pool.size() == 1);
    // The jobs of a batch do see each other: this is what each() is for.
    const word witness = data;
    const auto seen_together = b.run({attack("write", witness, 5), attack("read", witness)});
    REQUIRE(seen_together);
    CHECK(seen_together->at(1) == 5);
    const auto apart =
        b.fn.each(std::vector<job>{attack("write", witness, 5), attack("read", witness)});
    REQUIRE(apart[1]);
    CHECK(*apart[1] != 5);
    b.a.expect_good();
  }
  // Of each element too, whatever the one before did.
  const auto replies = b.fn.with({.timeout = 20ms})
                           .each(std::vector<job>{attack("spoil", 0, pattern), attack("undefined"),
                                                  attack("done_at_once"), attack("loop_forever"),
                                                  attack("flags_done")});
  CHECK(replies[0]);
  CHECK(replies[1].error().fault.kind == fault_kind::invalid_opcode);
  CHECK(replies[2]);
  CHECK(replies[3].error().code == virtine::errc::timed_out);
  CHECK(replies[4]);
  b.a.expect_good();
}

TEST_CASE("H53: the loops of the trampoline's page give nothing to who jumps into them",
          "[hostile][long]") {
  batches b;
  const word step = is_emulated() ? 7 : 1;
  for (word at = x86::batch_offset; at < x86::loops_end; at += step) {
    INFO(at);
    const word target = x86::trampoline_page + at;
    const auto alone = b.a.run("jump_to", target, 0, 0, {.timeout = 20ms});
    if (!alone) CHECK(virtine::blame_of(alone.error().code) != virtine::blame::host);
    const auto among = b.run({attack("jump_to", target), attack("pause")});
    if (!among) CHECK(virtine::blame_of(among.error().code) != virtine::blame::host);
    b.a.expect_good();
  }
}
