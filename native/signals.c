/* Signals that Node cannot be asked about: the realtime ones have no names there. */
#include "weft.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

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
