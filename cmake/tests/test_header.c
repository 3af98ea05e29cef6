/* The public header alone, as strict C99: see the options it is compiled with. */
#include <xedge/xedge.h>

int main(void) {
    const xedge_options options = XEDGE_OPTIONS_INIT;
    const xedge_scan scan = XEDGE_SCAN_INIT;
    const xedge_window window = XEDGE_WINDOW_INIT;
    const xedge_model model = XEDGE_MODEL_INIT;
    const xedge_self_test_result result = XEDGE_SELF_TEST_INIT;
    return options.struct_size && scan.struct_size && window.struct_size && model.struct_size &&
                   result.struct_size && sizeof(xedge_detection) == 24
               ? 0
               : 1;
}
