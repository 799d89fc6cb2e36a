from actfocus_core.cli import main

main()
