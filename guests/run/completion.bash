# Completes the options of virtine-run, image files, and the names of their functions.
# SPDX-License-Identifier: MIT
_virtine_run() {
  local word=${COMP_WORDS[COMP_CWORD]} image='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
      --json | --timeout | --hypercalls | --memory | --read | --write | --env) ((++i)) ;;
      -*) ;;
      *) image=${COMP_WORDS[i]} && break ;;
    esac
  done
  if [[ -n $image ]]; then
    if ((i + 1 == COMP_CWORD)); then
      mapfile -t COMPREPLY < <(compgen -W "$(virtine-run --complete "$image" 2>/dev/null)" -- "$word")
    fi
  elif [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(virtine-run --help | grep -oE '^  --[a-z-]+')" -- "$word")
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == --@(read|write) ]]; then
    mapfile -t COMPREPLY < <(compgen -d -- "$word")
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == --json ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -f -X '!*.virtine' -- "$word"; compgen -d -S / -- "$word")
  fi
}
shopt -s extglob
complete -o filenames -F _virtine_run virtine-run
