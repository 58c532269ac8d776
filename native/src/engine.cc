// The engine that runs us, by its own interface: what Node-API does not reach.
#include <napi.h>
#include <v8.h>

namespace {

// compileHot(whether): V8's threads make machine code of functions that run often. Of a start nothing runs often enough to
// repay that, and on a machine with few processors those threads are in the way of the start itself.
Napi::Value CompileHot(const Napi::CallbackInfo& info) {
  v8::V8::SetFlagsFromString(info[0].ToBoolean() ? "--sparkplug --maglev" : "--no-sparkplug --no-maglev");
  return info.Env().Undefined();
}

}  // namespace

void InitEngine(Napi::Env env, Napi::Object exports) { exports.Set("compileHot", Napi::Function::New(env, CompileHot, "compileHot")); }
