# fish completion for landgate-agent
complete -c landgate-agent -f
complete -c landgate-agent -n __fish_use_subcommand -a serve -d 'Serve; the default'
complete -c landgate-agent -n __fish_use_subcommand -a hold -d 'Keep descriptors of the serving process'
complete -c landgate-agent -l config -r -F -d 'Node configuration'
complete -c landgate-agent -n '__fish_seen_subcommand_from hold' -l socket -r -F -d 'Where the serving process connects'
complete -c landgate-agent -n '__fish_seen_subcommand_from hold' -l stay -d 'Never end by itself'
complete -c landgate-agent -l help -d Help
complete -c landgate-agent -l version -d Version
