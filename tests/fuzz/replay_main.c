/* A main() for fuzz targets without libFuzzer: runs the given files, and the files of given folders, once each. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long runs;

static void run_file(const char *path, size_t size)
{
    /* exactly as long as the input, so that a sanitizer sees reading past it */
    uint8_t *data = malloc(size ? size : 1);
    FILE *f = fopen(path, "rb");

    if (!data || !f || fread(data, 1, size, f) != size) {
        fprintf(stderr, "%s: can't be read\n", path);
        exit(1);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    runs++;
}

static void run_path(const char *path)
{
    char below[4096];
    struct dirent *e;
    struct stat st;
    DIR *d;

    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: not there\n", path);
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path, (size_t)st.st_size);
        return;
    }
    d = opendir(path);
    while (d && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
        run_path(below);
    }
    if (d)
        closedir(d);
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');
    int i;

    for (i = 1; i < argc; i++)
        run_path(argv[i]);
    printf("ok %s %lu runs\n", name ? name + 1 : argv[0], runs);
    return runs == 0;
}
