"""The rules. They return data: verdicts, and reasons with their numbers; `report` finds the words."""
