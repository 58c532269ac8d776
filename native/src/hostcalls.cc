// The file calls of the gofer and of the Sentry on host descriptors.
#include <napi.h>

void InitHostCalls(Napi::Env env, Napi::Object exports) {}
