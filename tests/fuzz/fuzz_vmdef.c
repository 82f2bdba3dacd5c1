/* Any bytes as a definition: what is taken is its own canonical form. */
#include <stdlib.h>
#include <string.h>

#include "protocol/vmdef.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vm_def *d, *again;
	json_object *a, *b, *all;

	if (vm_def_parse_text((const char *)data, size, &d, NULL) < 0)
		return 0;
	a = vm_def_json(d);
	if (vm_def_parse(a, NULL, 0, &again, NULL) < 0)
		abort();
	b = vm_def_json(again);
	all = vm_def_json_all(again);
	if (strcmp(json_object_to_json_string(a), json_object_to_json_string(b)))
		abort();
	json_object_put(a);
	json_object_put(b);
	json_object_put(all);
	vm_def_free(d);
	vm_def_free(again);
	return 0;
}
