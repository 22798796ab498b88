# fish completion for mailgate(1)

# Whether a file of the working folder, and what it may be a link to, is the user's own: mailgate takes no other's either.
function __mailgate_owns
    test -O $argv[1]; and begin; not test -L $argv[1]; or test (stat -c %u -- $argv[1]) = (id -u); end
end

# The configuration that the command line names, or the one that mailgate would take.
function __mailgate_file
    set -l words (commandline -opc)
    set -l file mailgate.toml
    if set -l at (contains -i -- --config $words)
        set file $words[(math $at + 1)]
    else if not __mailgate_owns $file
        set file /etc/mailgate/mailgate.toml
    end
    test -r $file; and echo $file
end

# The names in its tables [[$argv[1]]].
function __mailgate_names
    set -l file (__mailgate_file); and awk -v table="[[$argv[1]]]" '
        /^[ \t]*\[/ { inside = $1 == table }
        inside && /^[ \t]*name[ \t]*=/ { gsub(/^[^"]*"|".*$/, ""); print }' $file
end

# The hosts of its servers.
function __mailgate_hosts
    set -l file (__mailgate_file); and awk '
        /^[ \t]*#/ { next }
        /^[ \t]*\[/ { inside = $1 ~ /^\[\[upstream/ }
        inside { while (match($0, /address[ \t]*=[ \t]*"[^"]*"/)) {
                     host = substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH)
                     gsub(/^[^"]*"|:[0-9]+"$|"$/, "", host); gsub(/[][]/, "", host); print host } }' $file
end

# The names of the sets that there are rules in.
function __mailgate_sets
    __mailgate_answer access set list | string replace -rf '^  \{"name":"([^"]*)".*' '$1'
end

# What mailgate answers within a second; nothing where it does not.
function __mailgate_answer
    set -l words (commandline -opc)
    set -l config
    if set -l at (contains -i -- --config $words)
        set config --config $words[(math $at + 1)]
    end
    timeout 1 mailgate $config $argv --json 2>/dev/null
end

# The balancers' networks that the running gateway trusts.
function __mailgate_balancers
    __mailgate_answer status | awk '
        /"trusted" *:/ { inside = 1 }
        inside { while (match($0, /"[0-9a-f:][0-9a-f.:\/]*"/)) {
                     print substr($0, RSTART + 1, RLENGTH - 2); $0 = substr($0, RSTART + RLENGTH) } }
        /\]/ { inside = 0 }' | sort -u
end

# The gateways of the fleet.
function __mailgate_gateways
    __mailgate_answer fleet status | string replace -rf '^ *"gateway" *: *"([^"]*)".*' '$1' | sort -u
end

# The values of a list that is separated by commas, behind those that are there.
function __mailgate_listed
    set -l before (commandline -ct | string replace -rf '^(.*,)[^,]*$' '$1')
    for value in $argv
        echo "$before$value"
    end
end

function __mailgate_access
    __fish_seen_subcommand_from access; and __fish_seen_subcommand_from $argv
end

# Whether these are all words so far, but for options.
function __mailgate_says
    test "$(commandline -opc | string match -v -- '-*' | tail -n +2 | string collect)" = "$(string join \n -- $argv | string collect)"
end

set -l commands serve check access sessions who top report status tls server fleet console probe snippet reload backup restore version help
set -l rules allow deny remove list test set report import diff undo export rename-listener history

complete -c mailgate -f
complete -c mailgate -l config -r -F -d 'configuration file'
complete -c mailgate -l help -d 'usage'
complete -c mailgate -l version -d 'print the version'
complete -c mailgate -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c mailgate -n "__fish_seen_subcommand_from access; and not __fish_seen_subcommand_from $rules" -a "$rules"
complete -c mailgate -n '__mailgate_access allow deny remove list test report import diff; or __fish_seen_subcommand_from sessions report top' \
    -l listener -x -a '(__mailgate_names listener)' -d 'a listener'
complete -c mailgate -n '__mailgate_access allow deny' -l expires -x -a '1h 12h 1d 7d 30d never' -d 'duration or RFC 3339 time'
complete -c mailgate -n '__mailgate_access allow' -l client-sessions -x -d 'sessions at once for each client'
complete -c mailgate -n '__mailgate_access allow' -l client-rate -x -d 'new sessions a minute for each client'
complete -c mailgate -n '__mailgate_access allow deny list' -l note -x -d why
complete -c mailgate -n '__mailgate_access allow deny remove list report import diff export' -l set -x -a '(__mailgate_sets)' -d 'set of rules'
complete -c mailgate -n '__mailgate_access allow deny' -l owner -x -d 'who is to be asked'
complete -c mailgate -n '__mailgate_access allow deny' -l ticket -x -d 'where it was asked for'
complete -c mailgate -n '__mailgate_access remove' -l note-contains -x -d 'only rules with this in the note'
complete -c mailgate -n '__mailgate_access remove' -l expired-for -x -a '30d 90d' -d 'expired so long ago'
complete -c mailgate -n '__mailgate_access remove import' -l quiet -d 'print nothing if nothing changes'
complete -c mailgate -n '__mailgate_access remove set' -l yes -d 'do not ask'
complete -c mailgate -n '__mailgate_access allow deny remove import undo rename-listener set' -l dry-run -d 'change nothing'
complete -c mailgate -n '__mailgate_access set; and not __fish_seen_subcommand_from list show define remove' -a 'list show define remove'
complete -c mailgate -n '__mailgate_access import diff' -l all-sets -d 'replace sets that the file does not name, too'
complete -c mailgate -n '__mailgate_access import diff' -l ignore-columns -x -d 'columns of a CSV file that mean nothing here'
complete -c mailgate -n '__mailgate_access deny' -l reply -x -a 'temporary note temporary,note default' -d 'what clients hear'
complete -c mailgate -n '__mailgate_access deny' -l cut -d 'end current sessions'
complete -c mailgate -n '__mailgate_access allow deny import undo rename-listener' -l force -d 'even balancers and servers'
complete -c mailgate -n '__mailgate_access allow deny remove' -l program -x -d 'as a rule of this program'
complete -c mailgate -n '__mailgate_access history' -l since -x -a '1h 12h 1d 7d 30d today yesterday' -d beginning
complete -c mailgate -n '__mailgate_access history' -l until -x -a '1h 12h 1d 7d 30d today yesterday' -d end
complete -c mailgate -n '__mailgate_access history' -l by -x -d author
complete -c mailgate -n '__mailgate_access history' -l set -x -a '(__mailgate_sets)' -d 'set of rules'
complete -c mailgate -n '__mailgate_access history' -l limit -x -d 'maximum number'
complete -c mailgate -n '__mailgate_access list' -l inside -x -d 'lying in this network'
complete -c mailgate -n '__mailgate_access list' -l match -x -d 'covering this address'
complete -c mailgate -n '__mailgate_access list' -l unused -x -a '30d 90d 180d' -d 'for so long'
complete -c mailgate -n '__mailgate_access list' -l expiring -x -a '1d 7d 30d' -d 'within this time'
complete -c mailgate -n '__mailgate_access list' -l shadowed -d 'deciding nothing'
complete -c mailgate -n '__mailgate_access list' -l overlapping -d 'with other rules'
complete -c mailgate -n '__mailgate_access report' -l format -x -a 'csv json' -d format
complete -c mailgate -n '__mailgate_access list' -l expired -d 'expired rules'
complete -c mailgate -n '__mailgate_access allow deny remove list test import diff set report undo rename-listener history; or __fish_seen_subcommand_from sessions top report status tls check probe reload' -l json -d 'as JSON'
complete -c mailgate -n '__mailgate_access import diff' -F
complete -c mailgate -n '__mailgate_access import diff' -l format -x -a 'auto mailgate plain cidr access nginx ipset nft haproxy drop csv' -d 'of the file'
complete -c mailgate -n '__mailgate_access import diff' -l verdict -x -a 'allow deny' -d 'for lines without one'
complete -c mailgate -n '__mailgate_access import' -l replace -d 'remove the other rules of the set'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -a 'show kill'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l live -d 'current sessions'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l client -x -d network
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l from -x -d sender
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l user -x -d 'user name'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l to -x -d recipient
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l queue-id -x -d 'queue id of the mail at the server'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l message-id -x -d 'Message-ID of the mail'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l balancer -x -a '(__mailgate_balancers)' -d network
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l server -x -d server
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l verdict -x -a 'allow deny' -d 'of the rules'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l refused -d 'clients without a session'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l would-refuse -d 'in monitor mode'
complete -c mailgate -n '__fish_seen_subcommand_from report' -a would-refuse
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l refused-recipient -x -d 'that the server refused'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l reply -x -d 'part of a reply'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l protocol -x -a 'smtp lmtp imap pop3 sieve tcp' -d protocol
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l helo -x -d 'name or .domain'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l tls -x -a 'starttls implicit passthrough balancer none' -d TLS
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l end -x -a 'client_quit client_closed client_reset server_closed server_lost idle_timeout half_close_timeout shutdown drained killed gateway_error bare_lf forbidden_command protocol_violation plaintext_after_starttls tls_required server_violation tls_handshake_failed tls_error access too_many gateway_full no_server idle' -d 'close reason'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l rule -x -d 'network of the rule'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l failed-logins -d 'users not accepted'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l follow -d 'keep running'
complete -c mailgate -n '__fish_seen_subcommand_from sessions who top report' -l here -d 'only this gateway'
complete -c mailgate -n '__fish_seen_subcommand_from sessions who top report' -l gateway -x -a '(__mailgate_gateways)' -d 'only this one of the fleet'
complete -c mailgate -n '__fish_seen_subcommand_from top' -l by -x -a 'client network sender recipient user helo end' -d 'of these'
complete -c mailgate -n '__fish_seen_subcommand_from top' -l sort -x -a 'sessions bytes refused failed-logins' -d order
complete -c mailgate -n '__fish_seen_subcommand_from top report' -l client -x -d network
complete -c mailgate -n '__fish_seen_subcommand_from who' -l since -x -a '1h 12h 1d 7d 30d today yesterday' -d beginning
complete -c mailgate -n '__fish_seen_subcommand_from who report' -l until -x -a '1h 12h 1d 7d 30d today yesterday' -d end
complete -c mailgate -n '__fish_seen_subcommand_from who' -l limit -x -d 'of each'
complete -c mailgate -n '__fish_seen_subcommand_from who' -l json -d 'as JSON'
complete -c mailgate -n '__fish_seen_subcommand_from who' -l columns -x -a '(__mailgate_listed time session gateway client listener tls helo from to queue-id end protocol balancer server rule size in out duration started)' -d 'these columns'
complete -c mailgate -n '__fish_seen_subcommand_from who' -l wide -d 'do not fit tables to the terminal'
complete -c mailgate -n '__fish_seen_subcommand_from who' -l utc -d 'times in UTC'
complete -c mailgate -n '__fish_seen_subcommand_from who' -l no-pager -d 'no pager'
complete -c mailgate -n '__fish_seen_subcommand_from sessions top report' -l since -x -a '1h 12h 1d 7d 30d today yesterday' -d beginning
complete -c mailgate -n '__fish_seen_subcommand_from sessions top' -l until -x -a '1h 12h 1d 7d 30d today yesterday' -d end
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l all -d 'without a limit'
complete -c mailgate -n '__mailgate_access list set history; or __fish_seen_subcommand_from sessions top status tls would-refuse' -l wide -d 'do not fit tables to the terminal'
complete -c mailgate -n '__mailgate_access list set history; or __fish_seen_subcommand_from sessions top status tls would-refuse' -l utc -d 'times in UTC'
complete -c mailgate -n '__mailgate_access list set history; or __fish_seen_subcommand_from sessions top status tls would-refuse' -l no-pager -d 'no pager'
complete -c mailgate -n '__mailgate_access set history; or __fish_seen_subcommand_from tls' -l columns -x -d 'these columns'
complete -c mailgate -n '__fish_seen_subcommand_from would-refuse' -l columns -x -a '(__mailgate_listed network listeners sessions clients mails accepted why last senders)' -d 'these columns'
complete -c mailgate -n '__mailgate_access list' -l columns -x -a '(__mailgate_listed rule set verdict network listener limits reply expires hits last-hit by owner ticket note)' -d 'these columns'
complete -c mailgate -n '__fish_seen_subcommand_from sessions' -l columns -x -a '(__mailgate_listed time session gateway client listener tls helo from to queue-id end protocol balancer server rule size in out duration started)' -d 'these columns'
complete -c mailgate -n '__fish_seen_subcommand_from sessions top report' -l limit -x -d 'maximum number'
complete -c mailgate -n '__fish_seen_subcommand_from server; and not __fish_seen_subcommand_from drain ready' -a 'drain ready'
complete -c mailgate -n '__fish_seen_subcommand_from server; and __fish_seen_subcommand_from drain ready' -a '(__mailgate_names upstream)/'
complete -c mailgate -n '__fish_seen_subcommand_from server; and __fish_seen_subcommand_from drain ready' -l host -x -a '(__mailgate_hosts)' -d 'all servers at this name or address'
complete -c mailgate -n '__fish_seen_subcommand_from server; and __fish_seen_subcommand_from drain ready' -l everywhere -d 'at all gateways of the fleet'
complete -c mailgate -n '__fish_seen_subcommand_from console; and not __fish_seen_subcommand_from user token' -a 'user token'
complete -c mailgate -n '__fish_seen_subcommand_from console; and __fish_seen_subcommand_from user token; and not __fish_seen_subcommand_from add passwd remove list' -a 'add passwd remove list'
complete -c mailgate -n '__fish_seen_subcommand_from console; and __fish_seen_subcommand_from add' -l role -x -a 'viewer operator admin' -d 'what it may do'
complete -c mailgate -n '__fish_seen_subcommand_from console; and __fish_seen_subcommand_from token' -l user -x -d 'whose token'
complete -c mailgate -n '__fish_seen_subcommand_from console; and __fish_seen_subcommand_from token' -l expires -x -a '1d 7d 30d 90d never' -d 'how long it may be used'
complete -c mailgate -n '__fish_seen_subcommand_from console; and __fish_seen_subcommand_from list' -l json -d 'as JSON'
complete -c mailgate -n '__fish_seen_subcommand_from probe' -a '(__mailgate_names upstream)'
complete -c mailgate -n '__fish_seen_subcommand_from snippet' -a 'postfix postscreen dovecot haproxy nginx postgresql aws-nlb'
complete -c mailgate -n '__fish_seen_subcommand_from snippet; and __fish_seen_subcommand_from dovecot' -l version -x -a '2.3 2.4'
complete -c mailgate -n '__fish_seen_subcommand_from backup restore' -a '(__fish_complete_directories)'
complete -c mailgate -n '__fish_seen_subcommand_from restore' -l parts -x -a 'rules,journal rules journal rules,journal,configuration' -d 'what to restore'
complete -c mailgate -n '__fish_seen_subcommand_from status' -l check -d 'one line for a monitoring system'
complete -c mailgate -n '__fish_seen_subcommand_from status' -l sessions -x -a 80,95 -d 'percent: warning,critical'
complete -c mailgate -n '__fish_seen_subcommand_from status' -l journal -x -a 95 -d 'percent: warning,critical'
complete -c mailgate -n '__fish_seen_subcommand_from status' -l certificates -x -a 14,3 -d 'days: warning,critical'
complete -c mailgate -n '__fish_seen_subcommand_from status' -l fleet -d 'all gateways'
complete -c mailgate -n '__fish_seen_subcommand_from status' -l drained -x -a '1d 1w never' -d 'how long a server may be'
complete -c mailgate -n '__fish_seen_subcommand_from status' -l silent -x -a 20,300 -d 'seconds: warning,critical'
complete -c mailgate -n '__fish_seen_subcommand_from status' -l lag -x -a 10,300 -d 'seconds: warning,critical'
complete -c mailgate -n '__fish_seen_subcommand_from tls' -a 'status test'
complete -c mailgate -n '__fish_seen_subcommand_from tls; and __fish_seen_subcommand_from test' -l starttls -x -a 'smtp lmtp imap pop3 sieve' -d 'ask for it first'
complete -c mailgate -n '__fish_seen_subcommand_from tls; and __fish_seen_subcommand_from test' -l server-name -x -d 'whom the certificate must be for'
complete -c mailgate -n '__fish_seen_subcommand_from tls; and __fish_seen_subcommand_from test' -l ca -r -d 'who is trusted'
complete -c mailgate -n '__mailgate_access allow deny remove undo' -l here -d 'rules of this gateway alone'
complete -c mailgate -n '__fish_seen_subcommand_from fleet; and not __fish_seen_subcommand_from status join push verify leave forget copy migrate' -a 'status join push verify leave forget copy migrate'
complete -c mailgate -n '__fish_seen_subcommand_from fleet; and __fish_seen_subcommand_from status join push verify' -l json -d 'as JSON'
complete -c mailgate -n '__fish_seen_subcommand_from fleet; and __fish_seen_subcommand_from join push' -l dry-run -d 'change nothing'
complete -c mailgate -n '__fish_seen_subcommand_from fleet; and __fish_seen_subcommand_from join push' -l prefer -x -a 'fleet here' -d 'whose rules count'
complete -c mailgate -n '__fish_seen_subcommand_from fleet; and __fish_seen_subcommand_from migrate' -l url -x -d 'the database'
complete -c mailgate -n '__fish_seen_subcommand_from fleet; and __fish_seen_subcommand_from migrate' -l grant -x -d 'what gateways need'
complete -c mailgate -n '__mailgate_access set; and __fish_seen_subcommand_from show define remove' -a '(__mailgate_sets)'
complete -c mailgate -n '__mailgate_says help' -a "$commands"
complete -c mailgate -n '__mailgate_says help access' -a "$rules"
