// Stopping and stepping guest threads with ptrace(2).
#include <napi.h>

void InitPtrace(Napi::Env env, Napi::Object exports) {}
