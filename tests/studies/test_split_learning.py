"""The studies of split learning: their parts against slow and obvious ways, one cheap cell each, their sentences."""
