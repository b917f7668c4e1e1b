"""The `Model` resource: its types, rules, names, conditions and generated schema."""
