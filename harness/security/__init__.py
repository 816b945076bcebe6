"""Where data may go, who is told a key, and what keeps both: egress, a house's policy, the seal, secrets.

`environment` and `secrets` are imported first of all, and import next to nothing themselves.

A new rule of a house: a field of `PolicyConfig`, and its question in `policy`.
"""
