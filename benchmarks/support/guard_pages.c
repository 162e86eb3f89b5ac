/* Places each allocation of a process directly beside a page without access, and fills it.

   A process that is started with this library in LD_PRELOAD ends with SIGSEGV when it reads or
   writes beyond an allocation. `guard_pages` switches the guard on and off.

   An allocation has a slot: one page without access, then a power of two of pages. The end of the
   allocation, or its begin, is the border of a page without access: of its own slot or of the next.
   A freed slot has no access until it is used again. glibc keeps small and very large allocations. */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)1 << 22) /* 16 GiB of addresses */
#define CLASSES 18
#define LARGEST (PAGE << (CLASSES - 1))
/* malloc serves many small objects of Python; tensors come from posix_memalign, at any size. */
#define SMALLEST_MALLOC ((size_t)1024)

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int active, at_begin;
static volatile unsigned char fill;
static char *region;
static size_t used;
static uint32_t head[CLASSES];   /* the first free slot of each class, or 0 */
static uint32_t next_free[PAGES]; /* the free slot behind a free slot */
static uint32_t sizes[PAGES];    /* bytes of the allocation that begins in this page */
static uint32_t slots[PAGES];    /* its slot */
static unsigned char classes[PAGES]; /* the class of a slot */

/* `on`: 0 guards no new allocation, 1 those of tensors, 2 those of malloc too. `byte`: fills them. `left`: whether the page without
   access is in front of them, and not behind. */
void guard_pages(int on, int byte, int left)
{
	fill = (unsigned char)byte;
	at_begin = left;
	active = on;
}

static int is_guarded(const void *pointer)
{
	return region && (const char *)pointer >= region && (const char *)pointer < region + PAGES * PAGE;
}

static size_t pages_of(size_t size)
{
	return (size + PAGE - 1) / PAGE;
}

static uint32_t take_slot(int class)
{
	size_t needed = ((size_t)1 << class) + 1;
	uint32_t slot = 0;
	pthread_mutex_lock(&lock);
	if (!region) {
		void *mapped = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		region = mapped == MAP_FAILED ? NULL : mapped;
		used = 1;
	}
	if (head[class]) {
		slot = head[class];
		head[class] = next_free[slot];
	} else if (region && used + needed < PAGES) {
		slot = (uint32_t)used;
		used += needed;
		classes[slot] = (unsigned char)class;
	}
	pthread_mutex_unlock(&lock);
	return slot;
}

static void give_slot(uint32_t slot)
{
	pthread_mutex_lock(&lock);
	next_free[slot] = head[classes[slot]];
	head[classes[slot]] = slot;
	pthread_mutex_unlock(&lock);
}

/* A guarded allocation, or NULL where glibc must serve it. `least`: its least alignment. */
static void *guarded(size_t size, size_t least)
{
	int class = 0;
	size_t pages = pages_of(size ? size : 1), align = size & -size;
	if (!active || size > LARGEST || least > PAGE)
		return NULL;
	while (((size_t)1 << class) < pages)
		class++;
	uint32_t slot = take_slot(class);
	if (!slot)
		return NULL;
	char *first = region + ((size_t)slot + 1) * PAGE;
	if (!at_begin)
		first += (((size_t)1 << class) - pages) * PAGE;
	if (mprotect(first, pages * PAGE, PROT_READ | PROT_WRITE)) {
		give_slot(slot);
		return NULL;
	}
	memset(first, fill, pages * PAGE);
	if (align > 64 || !align)
		align = 64;
	if (align < least)
		align = least;
	char *start = at_begin ? first : first + ((pages * PAGE - (size ? size : 1)) & -align);
	size_t page = (size_t)(start - region) / PAGE;
	sizes[page] = (uint32_t)size;
	slots[page] = slot;
	return start;
}

static void give_back(void *pointer)
{
	size_t page = (size_t)((char *)pointer - region) / PAGE, pages = pages_of(sizes[page] ? sizes[page] : 1);
	char *first = region + page * PAGE;
	if (pages > 16)
		madvise(first, pages * PAGE, MADV_DONTNEED);
	mprotect(first, pages * PAGE, PROT_NONE);
	give_slot(slots[page]);
}

void *malloc(size_t size)
{
	void *pointer = active < 2 || size < SMALLEST_MALLOC ? NULL : guarded(size, 16);
	return pointer ? pointer : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	void *pointer = active < 2 || bytes < SMALLEST_MALLOC ? NULL : guarded(bytes, 16);
	return pointer ? memset(pointer, 0, bytes) : __libc_calloc(count, size);
}

void free(void *pointer)
{
	if (is_guarded(pointer))
		give_back(pointer);
	else
		__libc_free(pointer);
}

size_t malloc_usable_size(void *pointer)
{
	/* glibc keeps the size of a block in front of it; its lowest bits are flags. */
	if (is_guarded(pointer))
		return sizes[(size_t)((char *)pointer - region) / PAGE];
	return pointer ? (((size_t *)pointer)[-1] & ~(size_t)7) - 2 * sizeof(size_t) : 0;
}

void *realloc(void *pointer, size_t size)
{
	if (!is_guarded(pointer))
		return __libc_realloc(pointer, size);
	size_t before = malloc_usable_size(pointer);
	void *moved = malloc(size);
	if (!moved)
		return NULL;
	memcpy(moved, pointer, before < size ? before : size);
	give_back(pointer);
	return moved;
}

void *reallocarray(void *pointer, size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(pointer, bytes);
}

void *memalign(size_t alignment, size_t size)
{
	/* A tensor may begin anywhere in a larger one, so kernels need the alignment of a number only. */
	void *pointer = guarded(size, alignment > 64 ? alignment : 1);
	return pointer ? pointer : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
	void *pointer = memalign(alignment, size);
	if (!pointer)
		return ENOMEM;
	*result = pointer;
	return 0;
}
