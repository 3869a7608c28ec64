#!/bin/sh
# What the documents ask of systemctl, on a machine of the lab where no systemd is process 1: it reads
# the units with their drop-ins, starts what they say with their variables, and waits for READY=1.
# Nothing is started again by itself, and what else a unit says (limits, users) is passed over.
set -e
state=/run/units
mkdir -p "$state"

# The unit with its drop-ins, each below its name, as `systemctl cat` shows them.
show() {
    for folder in /etc/systemd/system /usr/lib/systemd/system; do
        [ -f "$folder/$1.service" ] || continue
        for file in "$folder/$1.service" "/etc/systemd/system/$1.service.d"/*.conf; do
            [ ! -f "$file" ] || { echo "# $file" && cat "$file" && echo; }
        done
        return
    done
    echo "Unit $1.service not found." >&2
    return 5
}

# The same, with lines that go on joined.
text() {
    all=$(show "$1") || return
    echo "$all" | sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}'
}

# All values of a key; an empty one takes those before it back.
values() {
    text "$1" | sed -n "s/^$2=//p" | sed "s/%p/$1/g; s/%H/$(hostname)/g" |
        awk '/^$/ { n = 0; next } { a[n++] = $0 } END { for (i = 0; i < n; i++) print a[i] }'
}

running() { [ -s "$state/$1.pid" ] && kill -0 "$(cat "$state/$1.pid")" 2>/dev/null; }

# The unit's variables, as lines for a shell.
variables() {
    values "$1" Environment | tr -d '"' | sed 's/^\([A-Za-z_]*\)=\(.*\)/export \1="\2"/'
    values "$1" EnvironmentFile | sed 's/^-//' | while read -r file; do
        [ ! -f "$file" ] || sed -n "s/^\([A-Za-z_]*\)=[\"']\{0,1\}\([^\"']*\).*/export \1='\2'/p" "$file"
    done
}

# One line of Exec…=; dockerd has no socket of systemd's here, and brings its own containerd.
line() {
    echo "$1" | sed 's/^[-+@!:]*//; s| -H fd://||; s| --containerd=[^ ]*||; s/%n//'
}

listen() {
    perl -MSocket -e '
        socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die $!;
        bind($s, sockaddr_un($ARGV[0])) or die $!;
        open(my $o, ">", "$ARGV[1].listens"); close($o);
        while (defined recv($s, my $text, 4096, 0)) {
            if ($text =~ /^READY=1/m) { open(my $f, ">", "$ARGV[1].ready"); close($f) }
        }' "$state/$1.socket" "$state/$1" </dev/null >/dev/null 2>&1 &
    echo $! >"$state/$1.listener"
    while [ ! -e "$state/$1.listens" ]; do sleep 0.05; done
}

start() {
    text "$1" >/dev/null
    ! running "$1" || return 0
    rm -f "$state/$1".*
    listen "$1"
    {
        variables "$1"
        echo "export NOTIFY_SOCKET=$state/$1.socket"
        values "$1" ExecStartPre | while read -r before; do echo "$(line "$before") || true"; done
        echo "exec $(line "$(values "$1" ExecStart | tail -n 1)")"
    } >"$state/$1.start"
    # A shell stays its parent, so that nothing of it is left when it has ended.
    {
        setsid sh "$state/$1.start" >"$state/$1.log" 2>&1 </dev/null &
        echo $! >"$state/$1.pid"
        wait
    } >/dev/null 2>&1 </dev/null &
    while [ ! -s "$state/$1.pid" ]; do sleep 0.05; done
    tries=0
    while [ "$(values "$1" Type | tail -n 1)" = notify ] && [ ! -e "$state/$1.ready" ]; do
        tries=$((tries + 1))
        if ! running "$1" || [ "$tries" -gt 300 ]; then
            echo "Job for $1.service failed." >&2
            tail -n 20 "$state/$1.log" >&2
            return 1
        fi
        sleep 0.1
    done
    values "$1" ExecStartPost | while read -r after; do
        eval "$(line "$after")" >>"$state/$1.log" 2>&1 || true
    done
}

stop() {
    text "$1" >/dev/null
    if running "$1"; then
        pid=$(cat "$state/$1.pid")
        kill "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    fi
    [ ! -s "$state/$1.listener" ] || kill "$(cat "$state/$1.listener")" 2>/dev/null || true
    rm -f "$state/$1.pid" "$state/$1.listener"
}

wants=/etc/systemd/system/multi-user.target.wants
now=false
verb=
units=
for word; do
    case $word in
        --now) now=true ;;
        -*) ;;
        *) if [ -z "$verb" ]; then verb=$word; else units="$units ${word%.service}"; fi ;;
    esac
done
for unit in $units; do
    case $verb in
        start | stop) "$verb" "$unit" ;;
        restart) stop "$unit" && start "$unit" ;;
        try-restart) ! running "$unit" || { stop "$unit" && start "$unit"; } ;;
        enable)
            text "$unit" >/dev/null
            mkdir -p "$wants" && ln -sf "/usr/lib/systemd/system/$unit.service" "$wants/$unit.service"
            ! $now || start "$unit"
            ;;
        disable)
            rm -f "$wants/$unit.service"
            ! $now || stop "$unit"
            ;;
        is-active) if running "$unit"; then echo active; else echo inactive && exit 3; fi ;;
        is-enabled) [ -L "$wants/$unit.service" ] ;;
        cat) show "$unit" ;;
        *) echo "this systemctl knows no $verb" >&2 && exit 1 ;;
    esac
done
