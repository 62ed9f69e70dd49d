/* SPDX-License-Identifier: GPL-2.0 */
/* Macros of system headers that cppcheck, which does not read those, cannot guess. */
#define json_array_foreach(array, index, value) \
	for (index = 0; index < json_array_size(array) && (value = json_array_get(array, index)); index++)
#define json_object_foreach(object, key, value) \
	for (key = next_key(object, 0); key && (value = json_object_get(object, key)); key = next_key(object, key))
#define LIBBPF_OPTS(type, name, ...) struct type name
#define STAILQ_HEAD(name, type) struct name { struct type *stqh_first; struct type **stqh_last; }
#define STAILQ_ENTRY(type) struct { struct type *stqe_next; }
#define TAILQ_HEAD(name, type) struct name { struct type *tqh_first; struct type **tqh_last; }
#define TAILQ_ENTRY(type) struct { struct type *tqe_next; struct type **tqe_prev; }
#define LIST_HEAD(name, type) struct name { struct type *lh_first; }
#define LIST_ENTRY(type) struct { struct type *le_next; struct type **le_prev; }
#define STAILQ_FOREACH(var, head, field) for (var = (head)->stqh_first; var; var = var->field.stqe_next)
#define TAILQ_FOREACH(var, head, field) for (var = (head)->tqh_first; var; var = var->field.tqe_next)
#define LIST_FOREACH(var, head, field) for (var = (head)->lh_first; var; var = var->field.le_next)
