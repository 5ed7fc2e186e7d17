/* The least that an agent can do, in plain C: what landgate-agent is measured against. */
#ifndef LANDGATE_BENCH_AGENT_LOOPS_H_
#define LANDGATE_BENCH_AGENT_LOOPS_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum agent_loop {
  LOOP_THREADS, /* a thread per listener: receive, continue */
  LOOP_PATH,    /* the same, and it reads the path of the second argument and checks the id */
  LOOP_POLLED,  /* as LOOP_THREADS with a poll before each receive (before Linux 6.11) */
  LOOP_HERD,    /* two threads per listener, both in the receive */
  LOOP_EPOLL,   /* one thread for all listeners, with epoll */
  LOOP_EPOLL_PATH,
};

/* Serves until every listener has hung up. Sync wake-up. Exits the process where it can't. */
void agent_loop_serve(enum agent_loop loop, const int* listeners, size_t count);

#ifdef __cplusplus
}
#endif

#endif /* LANDGATE_BENCH_AGENT_LOOPS_H_ */
