# bash completion for mailgate(1)

# The configuration that the command line names.
_mailgate_named() {
    local word file=""
    for ((word = 1; word < COMP_CWORD; word++)); do
        [ "${COMP_WORDS[word]}" = --config ] || continue
        [ "${COMP_WORDS[word + 1]}" = = ] && ((word++))
        file=${COMP_WORDS[word + 1]}
    done
    [[ $file = "~/"* ]] && file=$HOME/${file:2}
    printf '%s\n' "$file"
}

# Whether a file of the working folder, and what it may be a link to, is the user's own: mailgate takes no other's either.
_mailgate_owns() {
    [ -O "$1" ] && { [ ! -L "$1" ] || [ "$(stat -c %u -- "$1")" = "$EUID" ]; }
}

# That configuration, or the one that mailgate would take, and the files that it includes.
_mailgate_files() {
    local file pattern found
    file=$(_mailgate_named)
    if [ -z "$file" ]; then
        file=mailgate.toml
        _mailgate_owns "$file" || file=/etc/mailgate/mailgate.toml
    fi
    [ -r "$file" ] || return
    printf '%s\n' "$file"
    while IFS= read -r pattern; do
        [[ $pattern = /* ]] || pattern=$(dirname -- "$file")/$pattern
        while IFS= read -r found; do
            [ -r "$found" ] && printf '%s\n' "$found"
        done < <(compgen -G "$pattern")
    done < <(awk '/^[ \t]*\[/ { exit } /^[ \t]*include[ \t]*=/ { inside = 1 } inside { print } /\]|"[ \t]*$/ { inside = 0 }' "$file" |
             grep -o '"[^"]*"' | tr -d '"')
}

# The names in the tables [[$1]] of these: listener, upstream, or upstream.server as UPSTREAM/SERVER.
_mailgate_names() {
    local files
    mapfile -t files < <(_mailgate_files)
    [ ${#files[@]} -gt 0 ] && awk -v table="[[$1]]" '
        /^[ \t]*\[/ { inside = $1 == table; is_upstream = $1 == "[[upstream]]" }
        (inside || is_upstream) && /^[ \t]*name[ \t]*=/ {
            gsub(/^[^"]*"|".*$/, "")
            if (is_upstream) upstream = $0
            if (inside) print (table == "[[upstream.server]]" ? upstream "/" : "") $0
        }' "${files[@]}"
}

# The hosts of its servers.
_mailgate_hosts() {
    local files
    mapfile -t files < <(_mailgate_files)
    [ ${#files[@]} -gt 0 ] && awk '
        /^[ \t]*#/ { next }
        /^[ \t]*\[/ { inside = $1 ~ /^\[\[upstream/ }
        inside { while (match($0, /address[ \t]*=[ \t]*"[^"]*"/)) {
                     host = substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH)
                     gsub(/^[^"]*"|:[0-9]+"$|"$/, "", host); gsub(/[][]/, "", host); print host } }' "${files[@]}"
}

# The names of the sets that there are rules in.
_mailgate_sets() {
    local file
    file=$(_mailgate_named)
    "${COMP_WORDS[0]}" ${file:+--config "$file"} access set list --json 2>/dev/null | sed -n 's/^  {"name":"\([^"]*\)".*/\1/p'
}

# What mailgate answers within a second; nothing where it does not.
_mailgate_answer() {
    local file
    file=$(_mailgate_named)
    timeout 1 "${COMP_WORDS[0]}" ${file:+--config "$file"} "$@" --json 2>/dev/null
}

# The balancers' networks that the running gateway trusts.
_mailgate_balancers() {
    _mailgate_answer status | awk '
        /"trusted" *:/ { inside = 1 }
        inside { while (match($0, /"[0-9a-f:][0-9a-f.:\/]*"/)) {
                     print substr($0, RSTART + 1, RLENGTH - 2); $0 = substr($0, RSTART + RLENGTH) } }
        /\]/ { inside = 0 }' | sort -u
}

# The gateways of the fleet.
_mailgate_gateways() { _mailgate_answer fleet status | sed -n 's/^ *"gateway" *: *"\([^"]*\)".*/\1/p' | sort -u; }

# Offers those lines of its input that $cur begins, as words of the shell. They come out of files: compgen -W would carry
# out a $(command) in them.
_mailgate_offer() {
    local line
    while IFS= read -r line; do
        [[ $line = "$cur"* ]] && COMPREPLY+=("$(printf %q "$line")")
    done
}

# What --columns takes of a command's table.
_mailgate_columns() {
    case $1 in
        sessions*) if [[ " ${COMP_WORDS[*]} " = *" --live "* ]]; then
                       echo "since session client listener state server helo from in out balancer protocol tls mails"
                   else
                       _mailgate_columns who
                   fi ;;
        who*) echo "time session gateway client listener tls helo from to queue-id end protocol balancer server rule size in out duration started" ;;
        "report would-refuse"*) echo "network listeners sessions clients mails accepted why last senders" ;;
        "access list"* | "access set show"*) echo "rule set verdict network listener limits reply expires hits last-hit by owner ticket note" ;;
        "access set"*) echo "set rules allow deny expired hits last-hit expires-after note" ;;
        "access history"*) echo "time by change action rule what" ;;
    esac
}

# At a colon bash takes words apart, an IPv6 address too. Here they are whole, and of what is offered bash gets what comes
# behind the last colon that has been written.
_mailgate() {
    local piece before="" at=0
    local -a pieces=("${COMP_WORDS[@]}")
    if [[ $COMP_WORDBREAKS = *:* ]]; then
        local current=$COMP_CWORD
        COMP_WORDS=()
        for piece in "${pieces[@]}"; do
            if [[ $before && ($piece = :* && $before != [-=]* || $before = *: && $piece) ]]; then
                COMP_WORDS[${#COMP_WORDS[@]} - 1]+=$piece
                ((at <= current && COMP_CWORD--))
            else
                COMP_WORDS+=("$piece")
            fi
            before=$piece
            ((at++))
        done
    fi
    _mailgate_word
    local cur=${COMP_WORDS[COMP_CWORD]}
    [[ $COMP_WORDBREAKS = *:* && $cur = *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
    return 0
}

_mailgate_word() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word words="" command=""
    COMPREPLY=()
    # --option=value comes as three words.
    if [ "$cur" = = ]; then
        cur=""
    elif [ "$prev" = = ] && [ "$COMP_CWORD" -ge 2 ]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
        --config)   compopt -o filenames 2>/dev/null
                    mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --listener) _mailgate_offer < <(_mailgate_names listener); return ;;
        --role) mapfile -t COMPREPLY < <(compgen -W "viewer operator admin" -- "$cur"); return ;;
        --by) [[ " ${COMP_WORDS[*]} " = *" history "* ]] && return
              mapfile -t COMPREPLY < <(compgen -W "client network sender recipient user helo end" -- "$cur"); return ;;
        --format) local formats="auto mailgate plain cidr access nginx ipset nft haproxy drop csv"
                  [[ " ${COMP_WORDS[*]} " = *" report "* ]] && formats="csv json"
                  [[ " ${COMP_WORDS[*]} " = *" export "* ]] || { mapfile -t COMPREPLY < <(compgen -W "$formats" -- "$cur"); return; } ;;
        --verdict) mapfile -t COMPREPLY < <(compgen -W "allow deny" -- "$cur"); return ;;
        --protocol) mapfile -t COMPREPLY < <(compgen -W "smtp lmtp imap pop3 sieve tcp" -- "$cur"); return ;;
        --tls) mapfile -t COMPREPLY < <(compgen -W "starttls implicit passthrough balancer none" -- "$cur"); return ;;
        --starttls) mapfile -t COMPREPLY < <(compgen -W "smtp lmtp imap pop3 sieve" -- "$cur"); return ;;
        --parts) mapfile -t COMPREPLY < <(compgen -W "rules journal rules,journal rules,journal,configuration" -- "$cur"); return ;;
        --sort) mapfile -t COMPREPLY < <(compgen -W "sessions bytes refused failed-logins" -- "$cur"); return ;;
        --set) _mailgate_offer < <(_mailgate_sets); return ;;
        --balancer) _mailgate_offer < <(_mailgate_balancers); return ;;
        --gateway) _mailgate_offer < <(_mailgate_gateways); return ;;
        --end) mapfile -t COMPREPLY < <(compgen -W "client_quit client_closed client_reset server_closed server_lost idle_timeout half_close_timeout shutdown drained killed gateway_error bare_lf forbidden_command protocol_violation plaintext_after_starttls tls_required server_violation tls_handshake_failed tls_error access too_many gateway_full no_server idle" -- "$cur"); return ;;
        --host) _mailgate_offer < <(_mailgate_hosts); return ;;
        --expires) mapfile -t COMPREPLY < <(compgen -W "1h 12h 1d 7d 30d never" -- "$cur"); return ;;
        --server) _mailgate_offer < <(_mailgate_names upstream.server); return ;;
        --prefer) mapfile -t COMPREPLY < <(compgen -W "fleet here" -- "$cur"); return ;;
        --ca) compopt -o filenames 2>/dev/null
              mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --since | --until) mapfile -t COMPREPLY < <(compgen -W "1h 12h 1d 7d 30d today yesterday" -- "$cur"); return ;;
        --version) [[ " ${COMP_WORDS[*]} " = *" snippet "* ]] && mapfile -t COMPREPLY < <(compgen -W "2.3 2.4" -- "$cur"); return ;;
        --reply | --note | --note-contains | --owner | --ticket | --match | --inside | --client | --from | --to | --user | --limit | --queue-id | --message-id | --refused-recipient | --helo | --rule | --program | --client-sessions | --client-rate | --expired-for | --unused | --expiring | --ignore-columns | --url | --grant | --server-name | --lag | --silent | --sessions | --journal | --journal-lag | --certificates | --drained) return ;;
    esac

    for ((word = 1; word < COMP_CWORD; word++)); do
        case ${COMP_WORDS[word]} in
            --config | --listener | --expires | --note | --set | --owner | --ticket | --program | --client-sessions | --client-rate | \
            --reply | --note-contains | --expired-for | --match | --inside | --unused | --expiring | --columns | --format | \
            --verdict | --ignore-columns | --since | --until | --by | --limit | --client | --from | --to | --user | --queue-id | \
            --message-id | --balancer | --server | --refused-recipient | --protocol | --helo | --tls | --end | --rule | --gateway | \
            --sort | --starttls | --server-name | --ca | --host | --prefer | --url | --grant | --role | --parts | \
            --lag | --silent | --sessions | --journal | --journal-lag | --certificates | --drained | --version)
                [ "${COMP_WORDS[word + 1]}" = = ] && ((word++))
                ((word++)) ;;
            -* | =) ;;
            *) command+="${command:+ }${COMP_WORDS[word]}" ;;
        esac
    done

    if [ "$prev" = --columns ]; then  # several, separated by commas
        local before=""
        [[ $cur = *,* ]] && before=${cur%,*},
        mapfile -t COMPREPLY < <(compgen -P "$before" -W "$(_mailgate_columns "$command")" -- "${cur##*,}")
        compopt -o nospace 2>/dev/null
        return
    fi
    command=${command#help}  # whose words are the command's
    command=${command# }

    case $command in
        "") words="serve check access sessions who top report status tls server fleet console probe snippet reload backup restore version help --version" ;;
        access) words="allow deny remove list test set report import diff undo export rename-listener history" ;;
        "access allow"*) words="--listener --expires --note --client-sessions --client-rate --set --owner --ticket --force --program --here --dry-run --json" ;;
        "access deny"*) words="--listener --expires --note --reply --cut --set --owner --ticket --force --program --here --dry-run --json" ;;
        "access remove"*) words="--listener --set --note-contains --expired-for --yes --quiet --program --here --dry-run --json" ;;
        "access test"*) words="--listener --json" ;;
        "access rename-listener "*) words="--force --dry-run --json"
                                     _mailgate_offer < <(_mailgate_names listener) ;;
        "access list"*) words="--listener --match --inside --set --note --unused --expiring --shadowed --overlapping --expired --json --wide --columns --utc --no-pager" ;;
        "access report"*) words="--format --json --listener --set" ;;
        "access set") words="list show define remove" ;;
        "access set show" | "access set define" | "access set remove") words="--json"
                                                                     _mailgate_offer < <(_mailgate_sets) ;;
        "access set define"*) words="--expires --note --dry-run --json" ;;
        "access set remove"*) words="--yes --dry-run --json" ;;
        "access set"*) words="--json --wide --columns --utc --no-pager" ;;
        "access export"*) words="--set" ;;
        "access import") words="--format --verdict --listener --set --replace --all-sets --ignore-columns --quiet --force --dry-run --json"
                         [[ $cur = -* ]] || { compopt -o filenames 2>/dev/null
                                              mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return; } ;;
        "access import"*) words="--format --verdict --listener --set --replace --all-sets --ignore-columns --quiet --force --dry-run --json" ;;
        "access diff") words="--format --verdict --listener --set --all-sets --ignore-columns --json"
                       [[ $cur = -* ]] || { compopt -o filenames 2>/dev/null
                                            mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return; } ;;
        "access diff"*) words="--format --verdict --listener --set --all-sets --ignore-columns --json" ;;
        "access undo"*) words="--here --force --dry-run --json" ;;
        "access history"*) words="--since --until --by --set --limit --json --wide --columns --utc --no-pager" ;;
        sessions) words="show kill --live --client --from --to --user --queue-id --message-id --listener --balancer --server --verdict --refused --would-refuse --failed-logins --refused-recipient --reply --protocol --helo --tls --end --rule --since --until --limit --all --here --gateway --json --follow --wide --columns --utc --no-pager" ;;
        top)     words="--by --sort --since --until --client --listener --limit --here --gateway --json --wide --utc --no-pager" ;;
        who*)    words="--since --until --limit --here --gateway --json --wide --columns --utc --no-pager" ;;
        report) words="would-refuse" ;;
        "report would-refuse") words="--since --until --client --listener --limit --here --gateway --json --wide --columns --utc --no-pager" ;;
        backup) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
        restore*) words="--parts"
                  [[ $cur = -* ]] || { compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return; } ;;
        status) words="--check --fleet --silent --lag --sessions --journal --journal-lag --certificates --drained --json --wide --utc --no-pager" ;;
        tls) words="status test" ;;
        "tls status") words="--json --wide --columns --utc --no-pager" ;;
        "tls test"*) words="--starttls --server-name --ca --json" ;;
        server) words="drain ready" ;;
        "server drain" | "server ready") compopt -o nospace 2>/dev/null
                                         words="--host --everywhere"
                                         if [[ $cur = */* ]]; then
                                             _mailgate_offer < <(_mailgate_names upstream.server)
                                         else
                                             _mailgate_offer < <(_mailgate_names upstream | sed 's|$|/|')
                                         fi ;;
        probe*) words="--json"
                _mailgate_offer < <(_mailgate_names upstream) ;;
        check* | reload*) words="--json" ;;
        fleet) words="status join push verify leave forget copy migrate" ;;
        "fleet status") words="--json --wide --columns --utc --no-pager" ;;
        "fleet join" | "fleet push") words="--dry-run --prefer --json" ;;
        "fleet verify") words="--json" ;;
        "fleet migrate") words="--url --grant" ;;
        console) words="user token" ;;
        "console user") words="add passwd remove list" ;;
        "console token") words="add remove list" ;;
        "console user add"*) words="--role" ;;
        "console token add"*) words="--role --user --expires" ;;
        "console user list" | "console token list") words="--json --wide --columns --utc --no-pager" ;;
        "snippet dovecot") words="--version" ;;
        snippet) words="postfix postscreen dovecot haproxy nginx postgresql aws-nlb" ;;
    esac
    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$words --config --help" -- "$cur")
}

complete -F _mailgate mailgate
