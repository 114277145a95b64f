"""Where cells run: processes of this machine, a Ray cluster, or an array of Slurm jobs."""
