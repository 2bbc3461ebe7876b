"""What people are shown, in the same words at every door: plans, gates, manual steps, how a run goes on."""
