"""WHY: incidents, the alerts that tell of them, the rules that heed these, and what is learnt in the end."""
