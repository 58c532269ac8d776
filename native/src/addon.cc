// The module's exports: each source file adds its own functions in its Init, and declares them to TypeScript in types/.
#include <napi.h>

void InitMemory(Napi::Env env, Napi::Object exports);
void InitWait(Napi::Env env, Napi::Object exports);
void InitPtrace(Napi::Env env, Napi::Object exports);
void InitSystrap(Napi::Env env, Napi::Object exports);
void InitSeccomp(Napi::Env env, Napi::Object exports);
void InitHostCalls(Napi::Env env, Napi::Object exports);
void InitProcess(Napi::Env env, Napi::Object exports);
void InitNet(Napi::Env env, Napi::Object exports);
void InitNetBroker(Napi::Env env, Napi::Object exports);
void InitResidency(Napi::Env env, Napi::Object exports);

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  InitMemory(env, exports);
  InitWait(env, exports);
  InitPtrace(env, exports);
  InitSystrap(env, exports);
  InitSeccomp(env, exports);
  InitHostCalls(env, exports);
  InitProcess(env, exports);
  InitNet(env, exports);
  InitNetBroker(env, exports);
  InitResidency(env, exports);
  return exports;
}

NODE_API_MODULE(ptrace_napi, Init)
