"""what each integration costs beside what it must cost: shapes → ways → bound → cell → worker → grid → rows."""
