"""What a stream costs: measured beside other policies, against the machine's limit, and on paper."""
