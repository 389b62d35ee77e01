# shellcheck shell=bash
# Sourced by scripts/elasticsearch, scripts/opensearch, scripts/filebeat and scripts/promtool: the
# cache folder, messages and locks. Everything these scripts say goes to stderr;
# stdout carries only the result, so that x=$(scripts/filebeat) works.

note() { echo "${0##*/}: $*" >&2; }
die() { note "$@"; exit 1; }

need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null || die "'$1' is missing; on Debian: sudo apt-get install $2"
}

# Sets $cache. It is readable for everyone, because Elasticsearch refuses to run
# as root and is then started as nobody.
open_cache() {
  umask 022
  need flock util-linux
  cache=${K8SCOP_CACHE:-/var/tmp/k8scop}
  mkdir -p "$cache" || die "cannot create $cache; set K8SCOP_CACHE to a folder that you may write to"
  # /var/tmp is writable for all: never run a program that somebody else put there.
  [ -O "$cache" ] || die "$cache belongs to another user; set K8SCOP_CACHE to a folder of your own"
  cache=$(readlink -f "$cache")
  case $cache in *[[:space:]]*) die "K8SCOP_CACHE must not contain spaces: $cache" ;; esac
}

# Waits for the lock FILE and holds it until the shell which called it ends. A
# program that is to outlive that shell must be started with 9>&-.
lock() { # FILE
  exec 9>"$1"
  flock -n 9 && return
  note "waiting for another run that holds $1"
  flock 9
}
