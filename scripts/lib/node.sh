# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by scripts/elasticsearch and scripts/opensearch, after cache.sh: one
# node of a search engine on 127.0.0.1, from download to removal.
#
# The script that sources it sets
#   product     what messages call it: Elasticsearch
#   engine      its distribution, program, settings file and cache folder: elasticsearch
#   short       ES in K8SCOP_ES_HEAP and K8SCOP_ES_YML
#   version     the default version
# and defines
#   usage       prints it
#   choose      looks at $version, or dies; sets $jdk_min and $jdk_max (Java
#               releases), $jdk_tool (what the JDK must have: java or javac)
#               and $recipe: a cached home made from another one is made anew;
#               sets $login to USER:PASSWORD if the node asks for it
#   fetch_home  puts the distribution into ./home, in a temporary folder
#   settings    prints lines for the settings file, beside those of configure
#   prepare_run does what else is to be done in $run before a start
#   launch      replaces the shell by the node, whose Java is $jdk with the options $jvm
# and then calls node "$@".

http_code() { curl -s -o /dev/null -m 10 ${login:+-u "$login"} -w '%{http_code}' "$1" || true; }

# The processes of this node (launcher, server and helpers). They are known by
# a variable in their environment, not by a file with a number in it: that may
# be out of date, and the number may belong to somebody else by now.
pids() { { grep -lszxF "$marker" /proc/[0-9]*/environ || true; } | cut -d/ -f3; }

stop_node() {
  local p i
  p=$(pids)
  [ -n "$p" ] || return 0
  # shellcheck disable=SC2086
  kill $p 2>/dev/null || true
  for ((i = 0; i < 300; i++)); do # one minute
    p=$(pids)
    [ -n "$p" ] || return 0
    sleep 0.2
  done
  note "the node did not stop in a minute; killing it"
  # shellcheck disable=SC2086
  kill -9 $p 2>/dev/null || true
  sleep 1
  [ -z "$(pids)" ] || die "cannot stop the processes $(pids | tr '\n' ' ')"
}

# Prints the JDK to use.
find_jdk() {
  local d v best='' best_v=999
  for d in "${JAVA_HOME:-}" /usr/lib/jvm/* "$(dirname "$(dirname "$(readlink -f "$(command -v java || true)")")")"; do
    if [ -z "$d" ] || [ ! -x "$d/bin/java" ]; then continue; fi # an empty d would find /bin/java
    [ -x "$d/bin/$jdk_tool" ] || continue
    v=$("$d/bin/java" -version 2>&1 | sed -n 's/^.* version "\([0-9]*\).*/\1/p' | head -n 1)
    case $v in '' | *[!0-9]*) continue ;; esac
    if [ "$v" -lt "$jdk_min" ] || [ "$v" -gt "$jdk_max" ]; then continue; fi
    if [ "$v" -lt "$best_v" ]; then best=$d best_v=$v; fi # the oldest that will do is the best tried one
  done
  [ -n "$best" ] && echo "$best"
}

# Sets $jdk and makes sure of mvn and curl; installs what is missing where it may.
tools() {
  local missing=()
  command -v mvn >/dev/null || missing+=(maven)
  command -v curl >/dev/null || missing+=(curl)
  if ! jdk=$(find_jdk); then
    [ "$jdk_min" -le 17 ] || # the newest of Debian 12
      die "$product $version needs Java $jdk_min or later, and none is in /usr/lib/jvm, JAVA_HOME or PATH; install" \
        "openjdk-$jdk_min-jre-headless (Debian 13 has it) or temurin-25-jre (of Adoptium), or set JAVA_HOME"
    missing+=(openjdk-17-jdk-headless)
  fi
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "these are missing: ${missing[*]}; on Debian: sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
  note "installing ${missing[*]}"
  { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"; } >&2 ||
    die "apt-get could not install ${missing[*]}"
  jdk=$(find_jdk) || die "there is still no JDK for $product $version"
}

# Runs mvn in the current folder: without a pom its plugins leave marker files there.
maven() { # WHAT GOAL [OPTION...]   WHAT it fetches, for the message
  local what=$1 goal=$2
  shift 2
  mvn -q -B -Dstyle.color=never "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:$goal" "$@" </dev/null >mvn.log 2>&1 ||
    { cat mvn.log >&2; die "mvn could not fetch $what, see above"; }
}

# Adds a module to ./home whose jar is on Maven Central, for the distributions
# there which carry only the transport. BASE: a module that it extends.
# PERMISSION: what the security manager is to allow it. The file names in a jar
# stand in it as they are, so that its plugin class can be found without a JDK.
add_module() { # NAME GROUP:ARTIFACT BASE|'' [PERMISSION...]
  local name=$1 group=${2%:*} artifact=${2#*:} base=$3 m=home/modules/$1 j n class
  shift 3
  rm -rf module
  mkdir module "$m"
  cat >module/pom.xml <<XML
<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency></dependencies></project>
XML
  maven "$artifact $version" copy-dependencies -f module/pom.xml -DoutputDirectory="$PWD/module/jars" -DincludeScope=runtime
  class=$({ LC_ALL=C grep -aoE 'org/[A-Za-z0-9_/]+Plugin\.class' "module/jars/$artifact-$version.jar" || true; } | sed 's/\.class$//; s,/,.,g; q')
  [ -n "$class" ] || die "there is no plugin class in $artifact $version"
  for j in module/jars/*.jar; do # less what is there already: a jar may not be loaded twice
    n=${j##*/}
    [ -z "$base" ] || [ ! -e "home/modules/$base/$n" ] || continue
    compgen -G "home/lib/${n%-[0-9]*}-[0-9]*.jar" >/dev/null || cp "$j" "$m/"
  done
  cat >"$m/plugin-descriptor.properties" <<PROPERTIES
description=$name
name=$name
version=$version
classname=$class
java.version=1.8
$engine.version=$version
extended.plugins=$base
has.native.controller=false
PROPERTIES
  [ $# -eq 0 ] || { echo 'grant {'; printf '  permission %s;\n' "$@"; echo '};'; } >"$m/plugin-security.policy"
}

# Makes $home complete. It is put together beside its place and then renamed,
# so that an interrupted download leaves nothing that looks complete.
prepare_home() {
  local tmp
  if [ "$(cat "$home/complete" 2>/dev/null)" = "$recipe" ]; then return; fi
  (
    lock "$home.lock"
    if [ "$(cat "$home/complete" 2>/dev/null)" = "$recipe" ]; then exit; fi # another run was faster
    tmp=$base/unpack-$version # a fixed name, so that what a killed run left goes away now
    trap 'rm -rf "$tmp"' EXIT
    rm -rf "$tmp"
    mkdir "$tmp"
    cd "$tmp" || exit
    fetch_home
    mkdir -p home/plugins
    chmod -R a+rX home
    echo "$recipe" >home/complete
    rm -rf "$home"
    mv home "$home"
  )
}

configure() {
  local line
  mkdir -p "$run"/{data,logs,tmp,snapshots}
  rm -rf "$run/config"
  cp -r "$home/config" "$run/config"
  # Not into the home: the node may not write there.
  sed -i "/-Xlog:gc/d; /^8:.*\(gc\|GC\)/d; s,=\(logs/\)\?hs_err,=$run/logs/hs_err,; s,HeapDumpPath=data,HeapDumpPath=$run/logs," \
    "$run/config/jvm.options"
  {
    cat <<YML
cluster.name: k8scop
node.name: k8scop
discovery.type: single-node
network.host: 127.0.0.1
http.port: $port
transport.port: $((port + 100))
path.data: $run/data
path.logs: $run/logs
path.repo: $run/snapshots
cluster.routing.allocation.disk.threshold_enabled: false
YML
    settings
  } | while read -r line; do
    grep -q "^${line%%:*}:" <<<"$yml" || echo "$line"
  done >"$run/config/$engine.yml"
  printf '%s\n' "$yml" >>"$run/config/$engine.yml"
  prepare_run
}

# 401: the settings may have turned security on; then that is all one can see.
ready() {
  local accepted=200
  [ -n "$login" ] || accepted='200|401'
  [[ $(http_code "$url/_cluster/health?wait_for_status=yellow&timeout=5s") =~ ^($accepted)$ ]] &&
    [[ $(http_code "$url/") =~ ^($accepted)$ ]]
}

wait_ready() {
  local end=$((SECONDS + 300))
  until ready; do
    [ -n "$(pids)" ] || return 1
    [ $SECONDS -lt $end ] || return 2
    sleep 0.2
  done
}

start_node() {
  if [ ${#as[@]} -gt 0 ]; then
    chown -R nobody:nogroup "$run"
  elif [ ! -w "$run/data" ]; then
    die "$run/data belongs to another user"
  fi
  # setsid and the redirections let the node outlive this script and its pipes.
  (
    cd "$home" || exit
    unset JAVA_HOME JAVA_TOOL_OPTIONS _JAVA_OPTIONS JAVA_OPTS
    # shellcheck disable=SC2163
    export "$marker" HOME="$run"
    launch setsid "${as[@]}"
  ) </dev/null >"$run/out.log" 2>&1 9>&- &
  local i # until the marker can be seen
  for ((i = 0; i < 50; i++)); do
    [ -z "$(pids)" ] || return 0
    sleep 0.1
  done
}

node() { # the arguments of the script
  local command='' heap yml jvm='' login=''
  port=9200
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --port) [ $# -ge 2 ] || { usage >&2; exit 2; }; port=$2; shift ;;
      --port=*) port=${1#*=} ;;
      # Half of the work of a start is that of the optimizing compiler, and a
      # heap whose pages are touched at once is in memory even if never used.
      # (Not another collector: the memory breaker of Elasticsearch counts on G1.)
      --light) jvm='-XX:TieredStopAtLevel=1 -XX:-AlwaysPreTouch' ;;
      start | stop | status | clean) [ -z "$command" ] || { usage >&2; exit 2; }; command=$1 ;;
      [0-9]*) version=$1 ;;
      *) usage >&2; exit 2 ;;
    esac
    shift
  done
  [ -n "$command" ] || { usage >&2; exit 2; }
  case $version in *[!0-9.]*) die "'$version' is not a version" ;; esac
  choose
  if ! [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || [ "$port" -gt 65435 ]; then die "--port wants a number from 1 to 65435, not '$port'"; fi
  heap=K8SCOP_${short}_HEAP heap=${!heap:-1g}
  yml=K8SCOP_${short}_YML yml=${!yml:-}
  jvm="-Xms$heap -Xmx$heap $jvm"

  open_cache
  base=$cache/$engine
  home=$base/$version
  run=$base/run-$version-$port
  url=http://127.0.0.1:$port
  marker=K8SCOP_${short}_NODE=$run
  mkdir -p "$base"

  # How the node is started. The engines refuse to run as root.
  as=()
  if [ "$(id -u)" = 0 ]; then
    need setpriv util-linux
    as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  fi

  case $command in
    status)
      need curl curl
      if [ -z "$(pids)" ]; then
        note "$product $version on port $port is stopped"
      elif [ "$(http_code "$url/")" = 000 ]; then
        note "$product $version on port $port has been started but does not answer"
      else
        note "$product $version on port $port is running"
        echo "$url"
        exit 0
      fi
      echo "$url"
      exit 3
      ;;
    start)
      lock "$run.lock"
      if [ -z "$(pids)" ]; then
        tools
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
          die "another program listens on port $port; stop it or use --port N"
        fi
        "${as[@]}" test -x "$base" || die "the user nobody cannot enter $base; set K8SCOP_CACHE to another folder"
        prepare_home
        configure
        note "starting $product $version on port $port"
        start_node
      fi
      wait_ready || {
        tail -n 30 "$run/out.log" >&2
        stop_node
        die "$product $version did not get ready; its log is $run/out.log"
      }
      echo "$url"
      ;;
    stop)
      lock "$run.lock"
      stop_node
      ;;
    clean)
      lock "$run.lock"
      stop_node
      rm -rf "$run"
      ;;
  esac
}
