/* Checks of the tests in C: each failure is printed, and main returns how many there were. */
#ifndef XEDGE_TESTS_CHECK_H
#define XEDGE_TESTS_CHECK_H

#include <stdio.h>
#include <string.h>

static int checks_failed = 0;

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            ++checks_failed;                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                           \
    } while (0)

/* A call that must fail with a status, and say something that names what is wrong. */
#define CHECK_FAILS(wanted, word, call)                                                         \
    do {                                                                                        \
        const int status_ = (int)(call);                                                        \
        if (status_ != (int)(wanted) || !strstr(xedge_last_error(), word)) {                    \
            ++checks_failed;                                                                    \
            fprintf(stderr, "%s:%d: %s gave %d (%s) where %s with '%s' was due\n", __FILE__,    \
                    __LINE__, #call, status_, xedge_last_error(), #wanted, word);               \
        }                                                                                       \
    } while (0)

#endif
