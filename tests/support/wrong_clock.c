/* A process that preloads this has a clock that is CLOCK_OFF seconds wrong. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *now)
{
    static int (*right)(clockid_t, struct timespec *);
    if (!right)
        right = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int failed = right(id, now);
    if (!failed && id == CLOCK_REALTIME && getenv("CLOCK_OFF"))
        now->tv_sec += atoi(getenv("CLOCK_OFF"));
    return failed;
}
