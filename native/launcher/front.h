#pragma once

/** Does the command and ends the process, or returns with nothing done: then it is Node's. */
void front(int argc, char **argv, const char *version);
