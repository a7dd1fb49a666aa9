# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_pgkeep_global_optspecs
    string join \n config= json q/quiet v/verbose h/help V/version
end

function __fish_pgkeep_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_pgkeep_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_pgkeep_using_subcommand
    set -l cmd (__fish_pgkeep_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c pgkeep -n "__fish_pgkeep_needs_command" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_needs_command" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -s V -l version -d 'Print version'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "backup" -d 'Make a backup, send it to every store, and read every copy back'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "list" -d 'Show the backups on record, the newest first'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "verify" -d 'Prove the copies of a backup, as deep as asked, and repair them from one another'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "restore" -d 'Bring a backup back: into a database, as a plain pg_dump archive, or what a config backup holds'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "diff" -d 'Show what changed in settings, roles, rules of pg_hba.conf, databases and files between two config backups'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "prune" -d 'Remove the copies that no rule of retention keeps, and what dead runs left'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "pin" -d 'Keep a backup, whatever the rules of retention say'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "unpin" -d 'Leave a backup to the rules of retention again'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "alert" -d 'What is wrong: open alerts, and what has been heard of them'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "catalog" -d 'Keep the catalog'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "key" -d 'Make and show keys'
complete -c pgkeep -n "__fish_pgkeep_needs_command" -f -a "doctor" -d 'Check tools, keys, permissions, the catalog, and write, read and delete a probe in each store'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and not __fish_seen_subcommand_from full config" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and not __fish_seen_subcommand_from full config" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and not __fish_seen_subcommand_from full config" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and not __fish_seen_subcommand_from full config" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and not __fish_seen_subcommand_from full config" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and not __fish_seen_subcommand_from full config" -f -a "full" -d 'Back up whole databases with pg_dump; prints the id of each backup'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and not __fish_seen_subcommand_from full config" -f -a "config" -d 'Back up what is in no database\'s dump: roles, settings, the files that the server and its host are configured by; prints its id'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from full" -l database -d 'Back up this database; may be given several times [default: as configured]' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from full" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from full" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from full" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from full" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from full" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from config" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from config" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from config" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from config" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand backup; and __fish_seen_subcommand_from config" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -l type -d 'Only backups of this type' -r -f -a "full\t''
config\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -l database -d 'Only backups of this database' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -l status -d 'Only backups of this status' -r -f -a "in_progress\t''
completed\t''
verified\t''
degraded\t''
failed\t''
expired\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -l since -d 'Only backups begun since then: an age (`7d`), a date (`2026-11-01`) or a time (RFC 3339)' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -l from -d 'List by the manifests in this store; no catalog is asked' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -l limit -d 'Show at most so many' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand list" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l level -d 'How deep to look [default: checksum]' -r -f -a "stat\t''
checksum\t''
content\t''
restore\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l store -d 'Look at the copy in this store only; may be given several times' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l scratch -d 'Restore into a scratch database on this server: code that stands in the dump runs there with that role\'s rights [default: a server of its own, started for it and confined]' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l max-bytes -d 'With --all: begin no backup that would read more than so many bytes (`500M`, `2T`) in all' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l max-time -d 'With --all: begin no backup after so long (`90m`, `3h`)' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l type -d 'Only backups of this type' -r -f -a "full\t''
config\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l database -d 'Only backups of this database' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l status -d 'Only backups of this status' -r -f -a "in_progress\t''
completed\t''
verified\t''
degraded\t''
failed\t''
expired\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l since -d 'Only backups begun since then: an age (`7d`), a date (`2026-11-01`) or a time (RFC 3339)' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l all -d 'Verify every backup of the source, the one first whose check is the oldest, and look for what the catalog does not know'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l repair -d 'Make each copy that is damaged or missing again from one that passes'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand verify" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l into -d 'Restore into this database through pg_restore; it must exist, and be empty unless --clean is given. Code that stands in the dump runs there with that role\'s rights' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l output -d 'Write the plain pg_dump archive into this new file; of a config backup all that is in it into this new or empty folder, and nothing anywhere else (`-` for stdout: of a config backup a tar archive)' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l jobs -d 'Restore on so many sessions at once; the dump is put into a temporary file first ($TMPDIR, or /var/tmp)' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l table -d 'Only this table, view or sequence, named as it is, without quotes and schema; like pg_restore, without its indexes and constraints; may be given several times' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l schema -d 'Only what is in this schema, which must exist; may be given several times' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l role -d 'Do it as this role, which the one that connects must be a member of' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l from -d 'Read the copy in this store alone, which is found by the manifests there; no catalog is asked [default: the first whole copy on record, and the next where that breaks]' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l type -d 'Only backups of this type' -r -f -a "full\t''
config\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l database -d 'Only backups of this database' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l status -d 'Only backups of this status' -r -f -a "in_progress\t''
completed\t''
verified\t''
degraded\t''
failed\t''
expired\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l since -d 'Only backups begun since then: an age (`7d`), a date (`2026-11-01`) or a time (RFC 3339)' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l list -d 'Show what is in a config backup: each file with its owner, mode, size and time'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l globals -d 'Make the roles, memberships and tablespaces of a config backup in the cluster that --into names a database of; those that are there are left as they are, and named'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l dry-run -d 'With --globals: show the SQL, passwords left out, and run none of it'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l create -d 'Make the database of the dump\'s own name, by way of the one that --into names; with --clean one of that name is dropped first'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l clean -d 'Drop what the dump has before it is made anew, all in one transaction (with --jobs: up to the first error)'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l schema-only -d 'Only definitions, no rows'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l data-only -d 'Only rows, into tables that are there, in one transaction; not with --jobs, which would load rows before those that they refer to'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l no-owner -d 'Leave ownership and grants out: all belongs to the role that connects'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand restore" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand diff" -l from -d 'Read the copies in this store alone, which are found by the manifests there; no catalog is asked' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand diff" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand diff" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand diff" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand diff" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand diff" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -l database -d 'Only copies of this database; may be given several times' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -l store -d 'Only copies in this store; may be given several times' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -l dry-run -d 'Show the plan with its reasons, and remove nothing'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -l force -d 'Carry out a plan that removes more than half of a store\'s copies'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -l even-if-failing -d 'Remove copies of a database though its newest run failed'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand prune" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -l until -d 'Until then: an age from now on (`90d`), a date (`2027-01-01`) or a time (RFC 3339) [default: for good]' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -l type -d 'Only backups of this type' -r -f -a "full\t''
config\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -l database -d 'Only backups of this database' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -l status -d 'Only backups of this status' -r -f -a "in_progress\t''
completed\t''
verified\t''
degraded\t''
failed\t''
expired\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -l since -d 'Only backups begun since then: an age (`7d`), a date (`2026-11-01`) or a time (RFC 3339)' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand pin" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -l type -d 'Only backups of this type' -r -f -a "full\t''
config\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -l database -d 'Only backups of this database' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -l status -d 'Only backups of this status' -r -f -a "in_progress\t''
completed\t''
verified\t''
degraded\t''
failed\t''
expired\t''"
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -l since -d 'Only backups begun since then: an age (`7d`), a date (`2026-11-01`) or a time (RFC 3339)' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand unpin" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -l all -d 'Show those that are over, too'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -f -a "list" -d 'Show the open alerts, the newest first'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -f -a "ack" -d 'Say that somebody knows: it stays open, and says no more until it is graver or over'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -f -a "resolve" -d 'Say that it is over; raised again where it is not'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -f -a "send" -d 'Send what waits to be sent, now'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -f -a "test" -d 'Send a real message through each channel, and say which one works'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and not __fish_seen_subcommand_from list ack resolve send test check" -f -a "check" -d 'Look whether backups are as they should be, in the catalog and in the stores, and raise what is not'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from list" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from list" -l all -d 'Show those that are over, too'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from ack" -l note -d 'A word for whoever reads it next' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from ack" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from ack" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from ack" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from ack" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from ack" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from resolve" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from resolve" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from resolve" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from resolve" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from resolve" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from send" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from send" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from send" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from send" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from send" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from test" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from test" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from test" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from test" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from check" -l max-age -d 'A database without a good backup that is younger is in trouble [default: `max_age` of the configuration]' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from check" -l database -d 'Look at this database; may be given several times [default: as configured]' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from check" -l prometheus -d 'Write metrics into this file, for the textfile collector of Prometheus\' node_exporter' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from check" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from check" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand alert; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and not __fish_seen_subcommand_from rebuild" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and not __fish_seen_subcommand_from rebuild" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and not __fish_seen_subcommand_from rebuild" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and not __fish_seen_subcommand_from rebuild" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and not __fish_seen_subcommand_from rebuild" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and not __fish_seen_subcommand_from rebuild" -f -a "rebuild" -d 'Write the rows again that the manifests in stores tell of; takes nothing away'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and __fish_seen_subcommand_from rebuild" -l from -d 'Read the manifests in this store; may be given several times' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and __fish_seen_subcommand_from rebuild" -l accept -d 'Put this backup on record as well, although a key proves it that was rotated out before it began, or its time stamp is ahead of the clock; may be given several times' -r
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and __fish_seen_subcommand_from rebuild" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and __fish_seen_subcommand_from rebuild" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and __fish_seen_subcommand_from rebuild" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and __fish_seen_subcommand_from rebuild" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand catalog; and __fish_seen_subcommand_from rebuild" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and not __fish_seen_subcommand_from new show" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and not __fish_seen_subcommand_from new show" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and not __fish_seen_subcommand_from new show" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and not __fish_seen_subcommand_from new show" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and not __fish_seen_subcommand_from new show" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and not __fish_seen_subcommand_from new show" -f -a "new" -d 'Make a key in a new file of mode 0600; prints its id'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and not __fish_seen_subcommand_from new show" -f -a "show" -d 'Print the id of the key in a file'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from new" -l output -d 'The file to make; an existing one is never overwritten' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from new" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from new" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from new" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from new" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from show" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from show" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand key; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand doctor" -l config -d 'Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml, /etc/pgkeep/config.toml]' -r -F
complete -c pgkeep -n "__fish_pgkeep_using_subcommand doctor" -l json -d 'Print one JSON document instead of text'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand doctor" -s q -l quiet -d 'Print nothing on success'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand doctor" -s v -l verbose -d 'Say on stderr what is being done; twice for more'
complete -c pgkeep -n "__fish_pgkeep_using_subcommand doctor" -s h -l help -d 'Print help'
