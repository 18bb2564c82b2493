/* Stands in for three libraries of TensorRT 11, so that its Python bindings can be imported where it is not installed.
   It has the C functions that they look up and nothing behind them: whoever asks for a builder gets none.
   Built three times, each time with one of NVINFER, PLUGIN and PARSER defined. */

#ifdef NVINFER
#define NOTHING(name) void *name(void) { return 0; }
NOTHING(createInferBuilder_INTERNAL)
NOTHING(createInferRefitter_INTERNAL)
NOTHING(createInferRuntime_INTERNAL)
NOTHING(getBuilderPluginRegistry)
NOTHING(getLogger)
NOTHING(getPluginRegistry)
int getInferLibVersion(void) { return 110000; }
int getInferLibMajorVersion(void) { return 11; }
int getInferLibMinorVersion(void) { return 0; }
int getInferLibPatchVersion(void) { return 0; }
int getInferLibBuildVersion(void) { return 114; }
#endif

#ifdef PLUGIN
_Bool initLibNvInferPlugins(void) { return 1; }
#endif

#ifdef PARSER
void *createNvOnnxParser_INTERNAL(void) { return 0; }
void *createNvOnnxParserRefitter_INTERNAL(void) { return 0; }
int getNvOnnxParserVersion(void) { return 110000; }
#endif
