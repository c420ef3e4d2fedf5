"""The matching engine, its accounts and its rules. No HTTP."""
