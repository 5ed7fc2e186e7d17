# fish completion for landgatectl
function __landgatectl_policies
    landgatectl policy list --json 2>/dev/null | string match -rg '^ *"name": "(.*)",$'
end

function __landgatectl_containers
    landgatectl ps --json 2>/dev/null | string match -rg '^      "id": "(.*)",$'
end

set -l policy_commands validate explain compile list show
set -l in_policy '__fish_seen_subcommand_from policy'

complete -c landgatectl -l config -r -d 'Node configuration'
complete -c landgatectl -l help -s h -d 'Print help'
complete -c landgatectl -n __fish_use_subcommand -f -l version -d 'Print the version'
complete -c landgatectl -n __fish_use_subcommand -f -a check -d 'Can containers run under a policy here?'
complete -c landgatectl -n __fish_use_subcommand -f -a policy -d 'Write, test and explain policies'

set -l choosing "$in_policy; and not __fish_seen_subcommand_from $policy_commands"
complete -c landgatectl -n $choosing -f -a validate -d 'Show every mistake in policy files'
complete -c landgatectl -n $choosing -f -a explain -d 'Show which rule decides about one access'
complete -c landgatectl -n $choosing -f -a compile -d 'Show what the kernel would enforce'
complete -c landgatectl -n $choosing -f -a list -d 'List the policies of this node'
complete -c landgatectl -n $choosing -f -a show -d 'Show a policy, merged'

complete -c landgatectl -n __fish_use_subcommand -f -a ps -d 'List the containers that the agent serves'
complete -c landgatectl -n __fish_use_subcommand -f -a inspect -d 'Show one container and what holds of its policies'
complete -c landgatectl -n __fish_use_subcommand -f -a events -d 'Show the audit log, or what happens now'
complete -c landgatectl -n '__fish_seen_subcommand_from inspect' -f -a '(__landgatectl_containers)'
complete -c landgatectl -n '__fish_seen_subcommand_from ps inspect events' -l socket -r -d 'Control socket of the agent'
complete -c landgatectl -n '__fish_seen_subcommand_from events' -f -l follow -s f -d 'Show what happens from now on'
complete -c landgatectl -n '__fish_seen_subcommand_from events' -f -l denied -d 'Only what was denied'
complete -c landgatectl -n '__fish_seen_subcommand_from events' -x -l container -d 'Only of this container' \
    -a '(__landgatectl_containers)'
complete -c landgatectl -n "__fish_seen_subcommand_from check ps inspect events $policy_commands" -l json -d 'Print JSON'
complete -c landgatectl -n '__fish_seen_subcommand_from validate explain compile show' -a '(__landgatectl_policies)'
complete -c landgatectl -n '__fish_seen_subcommand_from validate' -l strict -d 'Warnings count as refusals'
complete -c landgatectl -n '__fish_seen_subcommand_from explain compile' -l root -r -d 'Root file system'
complete -c landgatectl -n '__fish_seen_subcommand_from explain' -l path -r -d 'A path in the container'
complete -c landgatectl -n '__fish_seen_subcommand_from explain' -l right -x -d 'Rights asked for' \
    -a 'read execute write create remove modify device ioctl unix all'
complete -c landgatectl -n '__fish_seen_subcommand_from explain' -l connect -x -d 'A destination'
complete -c landgatectl -n '__fish_seen_subcommand_from explain' -l bind -x -d 'A local address'
complete -c landgatectl -n '__fish_seen_subcommand_from explain' -l syscall -x -d 'A system call'
complete -c landgatectl -n '__fish_seen_subcommand_from explain' -l capability -x -d 'A capability'
complete -c landgatectl -n '__fish_seen_subcommand_from compile' -l abi -x -d 'Landlock ABI'
complete -c landgatectl -n '__fish_seen_subcommand_from compile' -l host-network -d 'Shared network namespace'
complete -c landgatectl -n '__fish_seen_subcommand_from compile' -l host-pid -d 'Shared process namespace'
