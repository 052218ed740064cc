/* The least program that captions a picture.
 *
 *     cc example.c $(pkg-config --cflags --libs looksay) && ./a.out looksay.gguf photo.jpg */
#include <looksay.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL IMAGE\n", argv[0]);
        return 2;
    }
    lks_model *model = NULL;
    lks_session *session = NULL;
    lks_caption *caption = NULL;
    lks_caption_options options;
    lks_error err;
    lks_status status = lks_model_open(&model, argv[1], NULL, &err);
    if (status == LKS_OK)
        status = lks_session_open(&session, model, NULL, &err);
    if (status == LKS_OK) {
        lks_caption_options_init(&options, model);
        status = lks_caption_file(session, &caption, argv[2], &options, &err);
    }
    if (status == LKS_OK)
        puts(caption->sequences[0].text);
    else
        fprintf(stderr, "%s\n", err.message);
    lks_caption_free(caption);
    lks_session_close(session);
    lks_model_close(model);
    return status == LKS_OK ? 0 : 1;
}
