"""nbgrader's words for ours, and our verdicts in the place of nbgrader's in-process tests.

``nbgrader autograde``, the formgrader and ``autograder grade`` all read this file and so give the same points.
"""

from autograder.grading.configuration import configure

c = get_config()  # noqa: F821, nbgrader puts it there
c.CourseDirectory.course_id = "words-in-context"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
configure(c)
