/* What Node has no call for: signals without a name of its own, and an end that does nothing else.
 */
#include "weft.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void nothing(int signal) {
  (void)signal;
}

/*
 * passOverRealtimeSignals(): from now on they do nothing, where else each ends the process. They
 * are caught, not ignored: what is caught is as it was in a program that this one starts.
 */
napi_value pass_over_realtime_signals(napi_env env, napi_callback_info info) {
  (void)info;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = nothing;
  action.sa_flags = SA_RESTART;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
    if (sigaction(signal, &action, NULL) < 0) return throw_errno(env, "sigaction", errno);
  return NULL;
}

/*
 * exitAtOnce(code): ends the process and all of its threads at once, and nothing else.
 * process.exit() first sets the first three descriptors back, and aborts where one of them was a
 * terminal that is gone, or is closed meanwhile by another thread.
 */
napi_value exit_at_once(napi_env env, napi_callback_info info) {
  int32_t a[1];
  if (!get_ints(env, info, 1, a)) return NULL;
  _exit(a[0]);
}
