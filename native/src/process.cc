// Starting processes: namespaces, mounts, credentials.
#include <napi.h>

void InitProcess(Napi::Env env, Napi::Object exports) {}
