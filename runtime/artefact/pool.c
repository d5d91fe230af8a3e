/* A pool of threads for parallel_for.
 *
 * A job is published as one word, `state`: its number, whether it is open, and how many workers are inside. A worker
 * that sees a new open job joins by counting itself in, which holds the job's fields still; the caller closes the job
 * when no task is left and waits until nobody is inside. So a worker that wakes late costs nothing: it finds the job
 * closed.
 *
 * Each thread has its own range of tasks, the same in every job of that size (what it wrote in the last kernel is in
 * its cache), and takes from the others' ranges when its own is empty. Workers spin for a while, since kernels follow
 * each other within microseconds, then sleep. */
#define _GNU_SOURCE
#include "network.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINE = 128 }; /* two cache lines: they are fetched in pairs */

typedef struct range {
  _Alignas(LINE) _Atomic int64_t next;
  int64_t end, grain;
} range;

typedef struct worker {
  struct pool* pool;
  pthread_t thread;
  int number;
} worker;

typedef struct pool {
  cnn_threads threads;                   /* first: what the caller holds */
  _Alignas(LINE) _Atomic uint64_t state; /* job number << 32 | open << 31 | workers inside */
  _Alignas(LINE) atomic_flag busy;
  cnn_body body;
  void* context;
  _Atomic int stopping, sleepers, caller_sleeps;
  pthread_mutex_t mutex;
  pthread_cond_t job, done;
  range* ranges;
  worker* workers;
} pool;

static const uint64_t open_bit = (uint64_t)1 << 31;
static const int64_t spin_ns = 30000;

static int64_t now_ns(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * (int64_t)1000000000 + time.tv_nsec;
}

/* Runs tasks until none is left: the own range first, then the next thread's, and so on. */
static void work(pool* pool, int thread)
{
  const int count = pool->threads.count;
  for (int i = 0; i < count; ++i) {
    range* range = &pool->ranges[(thread + i) % count];
    for (;;) {
      if (atomic_load_explicit(&range->next, memory_order_relaxed) >= range->end)
        break;
      const int64_t begin = atomic_fetch_add_explicit(&range->next, range->grain, memory_order_relaxed);
      if (begin >= range->end)
        break;
      const int64_t end = range->end - begin < range->grain ? range->end : begin + range->grain;
      pool->body(pool->context, begin, end, thread);
    }
  }
}

static uint64_t wait_for_job(pool* pool, uint64_t seen)
{
  uint64_t state;
  for (int64_t start = now_ns(); now_ns() - start < spin_ns;) {
    for (int i = 0; i < 64; ++i) {
      state = atomic_load_explicit(&pool->state, memory_order_acquire);
      if (state >> 32 != seen)
        return state;
      __builtin_ia32_pause();
    }
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->sleepers, 1);
  while ((state = atomic_load(&pool->state)) >> 32 == seen)
    pthread_cond_wait(&pool->job, &pool->mutex);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
  return state;
}

static void* run_worker(void* argument)
{
  const worker* worker = argument;
  pool* pool = worker->pool;
  uint64_t seen = 0;
  for (;;) {
    uint64_t state = wait_for_job(pool, seen);
    seen = state >> 32;
    if (atomic_load_explicit(&pool->stopping, memory_order_relaxed))
      return NULL;
    while ((state & open_bit) && state >> 32 == seen) {
      if (!atomic_compare_exchange_weak(&pool->state, &state, state + 1))
        continue;
      work(pool, worker->number);
      state = atomic_fetch_sub(&pool->state, 1);
      if ((state & (open_bit | (open_bit - 1))) == 1 && atomic_load(&pool->caller_sleeps)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->mutex);
      }
      break;
    }
  }
}

static void wait_for_workers(pool* pool)
{
  for (int64_t start = now_ns(); now_ns() - start < spin_ns;) {
    for (int i = 0; i < 64; ++i) {
      if ((atomic_load_explicit(&pool->state, memory_order_acquire) & (open_bit - 1)) == 0)
        return;
      __builtin_ia32_pause();
    }
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->caller_sleeps, 1);
  while ((atomic_load(&pool->state) & (open_bit - 1)) != 0)
    pthread_cond_wait(&pool->done, &pool->mutex);
  atomic_store(&pool->caller_sleeps, 0);
  pthread_mutex_unlock(&pool->mutex);
}

/* A new number, open or not; wakes who sleeps. */
static void publish(pool* pool, uint64_t open)
{
  const uint64_t number = (atomic_load_explicit(&pool->state, memory_order_relaxed) >> 32) + 1;
  atomic_store(&pool->state, number << 32 | open);
  if (atomic_load(&pool->sleepers) == 0)
    return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->job);
  pthread_mutex_unlock(&pool->mutex);
}

static void parallel_for(void* argument, int64_t tasks, cnn_body body, void* context)
{
  pool* pool = argument;
  const int64_t count = pool->threads.count;
  if (tasks <= 0)
    return;
  if (count == 1 || tasks == 1 || atomic_flag_test_and_set_explicit(&pool->busy, memory_order_acquire)) {
    body(context, 0, tasks, 0); /* alone: a busy pool is another call's, with another workspace */
    return;
  }
  pool->body = body;
  pool->context = context;
  const int64_t each = tasks / count, more = tasks % count;
  int64_t begin = 0;
  for (int64_t i = 0; i < count; ++i) {
    range* range = &pool->ranges[i];
    atomic_store_explicit(&range->next, begin, memory_order_relaxed);
    begin += each + (i < more);
    range->end = begin;
    range->grain = each < 8 ? 1 : each / 4; /* the rest stays for those who are done early */
  }
  publish(pool, open_bit);
  work(pool, 0);
  atomic_fetch_and(&pool->state, ~open_bit);
  wait_for_workers(pool);
  atomic_flag_clear_explicit(&pool->busy, memory_order_release);
}

static void stop(pool* pool, int running)
{
  atomic_store(&pool->stopping, 1);
  publish(pool, 0);
  for (int i = 0; i < running; ++i)
    pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->job);
  pthread_mutex_destroy(&pool->mutex);
  free(pool->ranges);
  free(pool->workers);
  free(pool);
}

int cnn_threads_create(int count, cnn_threads** threads)
{
  if (threads == NULL)
    return CNN_NULL_POINTER;
  *threads = NULL;
  if (count < 1 || count > CNN_MAX_THREADS)
    return CNN_BAD_THREADS;
  pool* pool = aligned_alloc(LINE, sizeof *pool);
  range* ranges = aligned_alloc(LINE, (size_t)count * sizeof *ranges);
  worker* workers = calloc((size_t)count, sizeof *workers);
  if (pool == NULL || ranges == NULL || workers == NULL) {
    free(pool);
    free(ranges);
    free(workers);
    return CNN_NO_MEMORY;
  }
  memset(pool, 0, sizeof *pool);
  memset(ranges, 0, (size_t)count * sizeof *ranges);
  pool->threads = (cnn_threads){CNN_ABI_VERSION, sizeof(cnn_threads), count, 0, parallel_for, pool, NULL};
  pool->ranges = ranges;
  pool->workers = workers;
  atomic_flag_clear(&pool->busy);
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->job, NULL);
  pthread_cond_init(&pool->done, NULL);
  /* Signals are the host's business: its own threads take them. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int running = 0;
  for (; running < count - 1; ++running) {
    workers[running] = (worker){pool, 0, running + 1};
    if (pthread_create(&workers[running].thread, NULL, run_worker, &workers[running]) != 0)
      break;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (running < count - 1) {
    stop(pool, running);
    return CNN_NO_MEMORY;
  }
  *threads = &pool->threads;
  return CNN_OK;
}

void cnn_threads_free(cnn_threads* threads)
{
  if (threads != NULL)
    stop((pool*)threads, threads->count - 1);
}
