"""The student's half of checking: all of ours that a student's process holds when it is graded.

Nothing in this package imports anything of ours from outside it. It knows no expected value and decides nothing.
"""
