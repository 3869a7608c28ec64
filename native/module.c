/* Placeholder so that the build has something to build; replaced by the real addon. */
#include <node_api.h>
NAPI_MODULE_INIT() { (void)env; return exports; }
