/* What the header-only parts define, as functions of a library: tests call them from Python. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The headers above stay as they are: they guard themselves. */
#define inline
#define static
#include <xedge/control.h>
#include <xedge/ring_reader.h>
#include <xedge/strip.h>
