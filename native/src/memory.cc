// Regions shared with stubs, and the memory of guest processes.
#include <napi.h>

void InitMemory(Napi::Env env, Napi::Object exports) {}
