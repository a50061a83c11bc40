"""The engines that Lip Sync Video runs, over models of the host."""
