#pragma once
#include <cstdint>

/** The word that everything which may concern the Sentry's loop increments: stubs, the epoll thread, SIGCHLD. */
uint32_t BellRead();
/** Increments it and wakes the loop if it sleeps. Async-signal-safe. */
void BellRing();
/** From now on the bell is the head of this ring (stub/sysmsg.h), which other processes ring as well. */
void BellAttach(void* ring);
/** Sleeps while the bell still reads `seen`, until the monotonic deadline in ns (infinite when not finite). */
void BellSleep(uint32_t seen, double deadlineNs);
/** Tells the stubs on which processor the Sentry runs. */
void BellTellCpu();
/** For when no guest runs, whose ring nobody would hear: sleeps until a watched host descriptor has something to tell or the bell is rung from this process, at most that many ns. False where it would be too short. */
bool HostSleep(uint32_t seen, double leftNs);
/** A watched host descriptor has something to tell. */
bool HostEventPending();
double MonotonicNs();
