#!/bin/sh
# Start, stop, fence and rewind one PostgreSQL server of the lab.
#
#   pg-start              start it; refused (exit 5) while it is fenced
#   pg-stop               stop it
#   pg-fence              stop it, prove that nothing listens there any more, and keep it from being started
#   pg-unfence            let it be started again
#   pg-rewind-from H P    make it a standby of the server at H, port P, and start it
#
# Each can be run any number of times. Root becomes the server's user first; any other user is refused.
# The standard output is one line of JSON; what PostgreSQL's programs say goes to the standard error.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
verb=$(basename -- "$0")
# Sets LAB NAME HOST PORT LISTENS ACCOUNT ACCOUNT_UID ACCOUNT_GID BINARIES DATA RUN ADMIN
. "$here/settings"

if [ "$(id -u)" = 0 ] && [ "$ACCOUNT_UID" != 0 ]; then
    exec setpriv --reuid="$ACCOUNT_UID" --regid="$ACCOUNT_GID" --clear-groups -- "$here/$verb" "$@"
fi
export MIMRUN_LAB="$LAB" LC_ALL=C PGPASSFILE="$RUN/pgpass" PGCONNECT_TIMEOUT=5
cd / || exit 1
fence="$RUN/fenced"
log="$RUN/log"

server_pid() { head -n 1 "$DATA/postmaster.pid" 2>/dev/null; }

# After a crash the file stays, and its number may be another process's by now: that one works elsewhere.
is_running() { pid=$(server_pid) && [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$DATA" ]; }

# A dead server that its parent has not yet taken note of would be held for a running one.
let_go() {
    tries=0
    while pid=$(server_pid) && grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || return 1
        sleep 0.05
    done
}

# The kernel's own list of listening sockets (state 0A), on this address or on all.
is_listening() {
    grep -Eq "^ *[0-9]+: ($LISTENS|00000000:${LISTENS#*:}) 00000000:0000 0A " /proc/net/tcp ||
        grep -Eq "^ *[0-9]+: (0{32}|0{16}FFFF0000[0-9A-F]{8}):${LISTENS#*:} [0:]+ 0A " /proc/net/tcp6 2>/dev/null
}

word() { if "$@"; then echo true; else echo false; fi; }

# report CHANGED [MORE]: the one line of JSON
report() {
    printf '{"action":"%s","changed":%s,"fenced":%s,"instance":"%s","listening":%s,"port":%s,"running":%s%s}\n' \
        "${verb#pg-}" "$1" "$(word test -e "$fence")" "$NAME" "$(word is_listening)" "$PORT" \
        "$(word is_running)" "${2:-}"
}

# fail STATUS MESSAGE
fail() {
    echo "$verb: $NAME: $2" >&2
    report false ",\"error\":\"$2\""
    exit "$1"
}

server_up() {
    let_go || fail 1 "the dead server of that name is still in the process list"
    "$BINARIES/pg_ctl" -D "$DATA" -w -t 30 -l "$log" -s start \
        -o "-c listen_addresses=$HOST -c port=$PORT -c cluster_name=$NAME" </dev/null >&2 ||
        fail 1 "the server did not start, see $log"
}

server_down() {
    for mode in fast immediate; do
        is_running || return 0
        "$BINARIES/pg_ctl" -D "$DATA" -w -t 10 -m "$mode" -s stop >&2 && return 0
    done
    ! is_running
}

# ask HOST PORT SQL
ask() { "$BINARIES/psql" -XqAt -h "$1" -p "$2" -U "$ADMIN" -d postgres -c "$3"; }

start() {
    [ ! -e "$fence" ] || fail 5 "it is fenced; run pg-unfence first"
    if is_running; then report false; else
        server_up
        report true
    fi
}

stop() {
    changed=$(word is_running)
    server_down || fail 1 "the server would not stop"
    report "$changed"
}

fence() {
    changed=true
    if [ -e "$fence" ] && ! is_running; then changed=false; fi
    # 1. The fence first: from here on nobody starts it. 2. Stop. 3. Look, rather than believe.
    : >"$fence" || fail 1 "the fence cannot be written"
    server_down || fail 1 "the server would not stop"
    tries=0
    while is_listening; do
        tries=$((tries + 1))
        [ "$tries" -lt 40 ] || fail 1 "something still listens at $HOST port $PORT"
        sleep 0.05
    done
    report "$changed"
}

unfence() {
    changed=$(word test -e "$fence")
    rm -f "$fence" || fail 1 "the fence cannot be taken away"
    report "$changed"
}

is_standby_of() {
    is_running && [ -e "$DATA/standby.signal" ] &&
        grep '^primary_conninfo' "$DATA/postgresql.auto.conf" | tail -n 1 | grep "host=$1 " | grep -q "port=$2 "
}

is_streaming() {
    [ "$(ask "$1" "$2" "select count(*) from pg_stat_replication
        where application_name = '$NAME' and state = 'streaming'" 2>/dev/null)" = 1 ]
}

rewind() {
    from_host=$1 from_port=$2 changed=false
    [ "$(ask "$from_host" "$from_port" 'select pg_is_in_recovery()')" = f ] ||
        fail 1 "$from_host port $from_port is not a primary that can be asked"
    if ! is_standby_of "$from_host" "$from_port"; then
        changed=true
        server_down || fail 1 "the server would not stop"
        let_go || fail 1 "the dead server of that name is still in the process list"
        # The source's control file names its new timeline only after a checkpoint.
        ask "$from_host" "$from_port" checkpoint >&2 || fail 1 "the new primary made no checkpoint"
        "$BINARIES/pg_rewind" -D "$DATA" --no-sync -R --source-server="host=$from_host port=$from_port \
user=$ADMIN dbname=postgres passfile=$RUN/pgpass connect_timeout=5" >&2 ||
            fail 1 "pg_rewind failed, see its message; a new base backup is needed"
        # A slot named here is one of the old primary's world; the new primary does not have it.
        sed -i '/^primary_slot_name/d' "$DATA/postgresql.auto.conf"
        [ -e "$DATA/standby.signal" ] || fail 1 "pg_rewind left no standby.signal"
        # It can no longer come up as a primary: the fence has done its work.
        rm -f "$fence"
        server_up
    fi
    tries=0
    until is_streaming "$from_host" "$from_port"; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || fail 1 "it runs and does not stream from $from_host port $from_port, see $log"
        sleep 0.05
    done
    report "$changed" ',"streaming":true'
}

[ "$(id -u)" = "$ACCOUNT_UID" ] || fail 5 "run it as user $ACCOUNT or as root"
case $verb in
pg-start) start ;;
pg-stop) stop ;;
pg-fence) fence ;;
pg-unfence) unfence ;;
pg-rewind-from)
    [ $# = 2 ] || fail 2 "give the new primary's host and port"
    case $1$2 in *[!0-9A-Za-z.:-]*) fail 2 "host or port is not one" ;; esac
    rewind "$1" "$2"
    ;;
*) fail 2 "there is no such command" ;;
esac
