// Installing seccomp filters.
#include <napi.h>

void InitSeccomp(Napi::Env env, Napi::Object exports) {}
