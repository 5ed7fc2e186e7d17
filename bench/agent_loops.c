#define _GNU_SOURCE
#include "agent_loops.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* Linux 6.6 */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1UL
#endif

enum { PAGE = 4096, STACK = 65536 };

static void fail(const char* what) {
  perror(what);
  exit(1);
}

/* Reads the string of the second argument. False: it can't, and the call is to be denied. */
static int read_path(int listener, const struct seccomp_notif* call) {
  char path[PAGE];
  uint64_t address = call->data.args[1];
  size_t length = 0;
  while (length < sizeof path) {
    size_t size = PAGE - (address + length) % PAGE;
    if (size > sizeof path - length) size = sizeof path - length;
    struct iovec here = {path + length, size}, there = {(void*)(address + length), size};
    ssize_t got = process_vm_readv((pid_t)call->pid, &here, 1, &there, 1, 0);
    if (got <= 0) return 0;
    if (memchr(path + length, 0, (size_t)got) != NULL)
      return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call->id) == 0;
    length += (size_t)got;
  }
  return 0;
}

/* 0: the listener has hung up. */
static int serve_one(int listener, int with_path) {
  struct seccomp_notif call;
  struct seccomp_notif_resp answer;
  memset(&call, 0, sizeof call);
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) {
    struct pollfd state = {listener, POLLIN, 0};
    return poll(&state, 1, 0) < 1 || (state.revents & POLLHUP) == 0;
  }
  memset(&answer, 0, sizeof answer);
  answer.id = call.id;
  if (with_path && !read_path(listener, &call))
    answer.error = -EACCES;
  else
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  return 1;
}

struct served {
  enum agent_loop loop;
  int listener;
};

static void* serve_listener(void* argument) {
  const struct served* served = argument;
  for (;;) {
    if (served->loop == LOOP_POLLED) {
      struct pollfd state = {served->listener, POLLIN, 0};
      if (poll(&state, 1, -1) == 1 && (state.revents & POLLIN) == 0) return NULL;
    }
    if (!serve_one(served->listener, served->loop == LOOP_PATH)) return NULL;
  }
}

static void serve_by_threads(enum agent_loop loop, const int* listeners, size_t count) {
  size_t each = loop == LOOP_HERD ? 2 : 1, threads = count * each;
  pthread_t* thread = calloc(threads, sizeof *thread);
  struct served* served = calloc(threads, sizeof *served);
  pthread_attr_t attributes;
  if (thread == NULL || served == NULL) fail("calloc");
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK);
  for (size_t i = 0; i < threads; ++i) {
    served[i].loop = loop;
    served[i].listener = listeners[i / each];
    errno = pthread_create(&thread[i], &attributes, serve_listener, &served[i]);
    if (errno != 0) fail("pthread_create");
  }
  for (size_t i = 0; i < threads; ++i) pthread_join(thread[i], NULL);
}

static void serve_by_epoll(int with_path, const int* listeners, size_t count) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) fail("epoll_create1");
  for (size_t i = 0; i < count; ++i) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = listeners[i]}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listeners[i], &event) < 0) fail("epoll_ctl");
  }
  while (count > 0) {
    struct epoll_event events[64];
    int ready = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < ready; ++i) {
      int listener = events[i].data.fd;
      if ((events[i].events & EPOLLIN) != 0) {
        serve_one(listener, with_path);
      } else {
        epoll_ctl(epoll, EPOLL_CTL_DEL, listener, NULL);
        --count;
      }
    }
  }
}

void agent_loop_serve(enum agent_loop loop, const int* listeners, size_t count) {
  for (size_t i = 0; i < count; ++i)
    ioctl(listeners[i], SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  if (loop == LOOP_EPOLL || loop == LOOP_EPOLL_PATH)
    serve_by_epoll(loop == LOOP_EPOLL_PATH, listeners, count);
  else
    serve_by_threads(loop, listeners, count);
}
