// Sleeping, waking, and the epoll thread that feeds the ring.
#include <napi.h>

void InitWait(Napi::Env env, Napi::Object exports) {}
