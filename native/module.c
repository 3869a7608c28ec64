/* What JavaScript sees, and the instance that each thread gets. */
#include "weft.h"

#include <stdlib.h>

/*
 * attach(view): registers the memory that all offsets refer to, a Uint8Array over a
 * SharedArrayBuffer, such as a shared WebAssembly.Memory has. (Any other buffer could be
 * transferred or grown, and the memory would be gone from under us.) A second call replaces
 * the first; one that throws leaves it.
 */
static napi_value attach(napi_env env, napi_callback_info info) {
  napi_value view = NULL, buffer = NULL;
  napi_ref memory = NULL;
  size_t given = 1, length = 0;
  bool movable = true;
  void *data = NULL;
  napi_typedarray_type type;
  struct instance *self = instance_of(env);
  napi_get_cb_info(env, info, &given, &view, NULL, NULL);
  if (given < 1 ||
      napi_get_typedarray_info(env, view, &type, &length, &data, &buffer, NULL) != napi_ok ||
      napi_is_arraybuffer(env, buffer, &movable) != napi_ok || movable ||
      type != napi_uint8_array || length > INT32_MAX || ((uintptr_t)data & 3) != 0) {
    napi_throw_type_error(env, NULL,
                          "attach wants a Uint8Array over a SharedArrayBuffer, less than 2 GiB "
                          "long, that begins at a multiple of 4");
    return NULL;
  }
  if (napi_create_reference(env, view, 1, &memory) != napi_ok) {
    napi_throw_error(env, NULL, "attach cannot hold the memory");
    return NULL;
  }
  if (self->memory != NULL) napi_delete_reference(env, self->memory);
  self->memory = memory;
  self->base = data;
  self->size = (uint32_t)length;
  return NULL;
}

/* lastError(): the errno that stopped the last writing call, 0 if none. */
static napi_value last_error(napi_env env, napi_callback_info info) {
  (void)info;
  return make_int(env, instance_of(env)->last_error);
}

/* errnoName(number): "EAGAIN"; "UNKNOWN" for a number it has no name for. */
static napi_value name_of_errno(napi_env env, napi_callback_info info) {
  int32_t a[1];
  napi_value name = NULL;
  if (!get_ints(env, info, 1, a)) return NULL;
  napi_create_string_utf8(env, errno_name(a[0]), NAPI_AUTO_LENGTH, &name);
  return name;
}

static void free_instance(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  free(data);
}

NAPI_MODULE_INIT() {
  struct instance *self = calloc(1, sizeof *self);
  if (self == NULL || napi_set_instance_data(env, self, free_instance, NULL) != napi_ok) {
    napi_throw_error(env, NULL, "out of memory");
    return NULL;
  }
#define METHOD(name, function) \
  { name, NULL, function, NULL, NULL, NULL, napi_enumerable, NULL }
  const napi_property_descriptor methods[] = {
      /* clang-format off */
      METHOD("attach", attach),
      METHOD("lastError", last_error),
      METHOD("errnoName", name_of_errno),
      METHOD("constants", constants),
      METHOD("tunOpen", tun_open),
      METHOD("tunOffload", tun_offload),
      METHOD("tunRead", tun_read),
      METHOD("tunWrite", tun_write),
      METHOD("tunSteer", tun_steer),
      METHOD("udpOpen", udp_open),
      METHOD("udpBind", udp_bind),
      METHOD("udpBindDevice", udp_bind_device),
      METHOD("udpConnect", udp_connect),
      METHOD("udpName", udp_name),
      METHOD("udpDiscard", udp_discard),
      METHOD("udpSteer", udp_steer),
      METHOD("setOption", set_option),
      METHOD("getOption", get_option),
      METHOD("udpReceive", udp_receive),
      METHOD("udpSend", udp_send),
      METHOD("eventOpen", event_open),
      METHOD("eventSignal", event_signal),
      METHOD("eventDrain", event_drain),
      METHOD("wait", wait_ready),
      METHOD("close", close_fd),
      METHOD("notify", notify),
      METHOD("nftGeneration", nft_generation),
      METHOD("linesOpen", lines_open),
      METHOD("linesWrite", lines_write),
      METHOD("linesLost", lines_lost),
      METHOD("linesFlush", lines_flush),
      METHOD("passOverRealtimeSignals", pass_over_realtime_signals),
      METHOD("exitAtOnce", exit_at_once),
      /* clang-format on */
  };
  napi_define_properties(env, exports, sizeof methods / sizeof methods[0], methods);
  return exports;
}
