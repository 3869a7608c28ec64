# What zsh offers for a command line whose last word is being typed, a word a line:
#   zsh -f offered.zsh FOLDER-OF-_weft LINE
# A zsh in a terminal of its own completes; what its completion hands on is written into a file.
zmodload zsh/zpty
file=$1/offered
zpty shell "FILE=$file FOLDER=${(q)1} zsh -f -i"
zpty -w shell 'PROMPT= RPROMPT= LISTMAX=10000; unsetopt automenu beep
fpath=($FOLDER $fpath); autoload -Uz compinit; compinit -u -D
compadd() {
  local -a inner hits
  zparseopts -E -a inner O: A: D:
  if (($#inner == 0)); then
    builtin compadd -O hits "$@"
    print -rl -- $hits >>$FILE
  fi
  builtin compadd "$@"
}
tell() { zle list-choices; : >$FILE.done; zle kill-whole-line }
zle -N tell; bindkey "^I" tell; : >$FILE.ready'
await() {
  repeat 400; do
    [[ -e $file.$1 ]] && return
    # A terminal that nobody reads from stands still.
    zpty -rt shell output
    sleep 0.05
  done
  print -u2 "zsh is not $1"
  exit 1
}
await ready
zpty -n -w shell "$2"$'\t'
await done
sort -u $file
zpty -d shell
rm -f $file $file.ready $file.done
