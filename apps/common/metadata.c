/* Captions in XMP: see metadata.h. XMP is RDF in XML,
 *
 *     x:xmpmeta > rdf:RDF > rdf:Description > dc:description > rdf:Alt > rdf:li xml:lang="x-default"
 *
 * and is edited as XML, so that all that nobody asked about stays as it was. */
#include "apps/common/metadata.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/complain.h"

#define RDF "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
#define EMPTY                                                                                                          \
    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"" RDF                                                  \
    "\"><rdf:Description rdf:about=\"\"/></rdf:RDF></x:xmpmeta>"
#define WRAPPER_BEGIN "<?xpacket begin=\"\xEF\xBB\xBF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
#define WRAPPER_END "\n<?xpacket end=\"w\"?>"

static const struct text {
    const char *schema, *prefix, *name;
} texts[] = {{"http://purl.org/dc/elements/1.1/", "dc", "description"},
             {"http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "Iptc4xmpCore", "AltTextAccessibility"}};

enum { N_TEXTS = sizeof texts / sizeof *texts };

bool metadata_is_built(void)
{
    return true;
}

/* The library says what is wrong with a file to standard error; we say so ourselves. */
static void ignore(void *context, const char *format, ...)
{
    (void)context;
    (void)format;
}

/* NULL: no XML with proper namespaces, or with a document type, which XMP has no use for but to hide things behind names. */
static xmlDoc *parse(const char *bytes, size_t n)
{
    const int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING;
    xmlSetGenericErrorFunc(NULL, ignore);
    xmlParserCtxt *context = xmlNewParserCtxt();
    xmlDoc *doc = context && n <= INT_MAX ? xmlCtxtReadMemory(context, bytes, (int)n, NULL, NULL, options) : NULL;
    if (doc && (doc->intSubset || doc->extSubset || !context->nsWellFormed)) {
        xmlFreeDoc(doc);
        doc = NULL;
    }
    xmlFreeParserCtxt(context);
    return doc;
}

static bool is_element(const xmlNode *node, const char *schema, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns && strcmp((const char *)node->ns->href, schema) == 0 &&
           strcmp((const char *)node->name, name) == 0;
}

static xmlNode *find_child(const xmlNode *of, const char *schema, const char *name)
{
    xmlNode *child = of ? of->children : NULL;
    while (child && !is_element(child, schema, name))
        child = child->next;
    return child;
}

/* NULL: this is XML, but no XMP. */
static xmlNode *find_rdf(xmlDoc *doc)
{
    xmlNode *root = xmlDocGetRootElement(doc);
    return !root || is_element(root, RDF, "RDF") ? root : find_child(root, RDF, "RDF");
}

static bool is_blank(const char *text)
{
    return !text || text[strspn(text, " \t\r\n")] == '\0';
}

/* A text and where it is: in a list of languages, or just so, which is wrong but seen. */
typedef struct found {
    xmlNode *property;  /* NULL: there is none, or it is an attribute */
    xmlAttr *attribute; /* the property as an attribute, or NULL */
    xmlNode *item;      /* the item with the text, or NULL */
    bool item_is_default;
    char *text; /* malloc'ed; NULL: none, or blank */
} found;

static bool is_default(xmlNode *item)
{
    char *language = (char *)xmlGetNsProp(item, (const xmlChar *)"lang", XML_XML_NAMESPACE);
    bool same = language && strcmp(language, "x-default") == 0;
    free(language);
    return same;
}

/* Finds x-default, or the first language. */
static void find_item(found *f)
{
    for (xmlNode *list = f->property->children; list; list = list->next) {
        bool is_list = is_element(list, RDF, "Alt") || is_element(list, RDF, "Seq") || is_element(list, RDF, "Bag");
        for (xmlNode *item = is_list ? list->children : NULL; item; item = item->next) {
            bool wanted = is_element(item, RDF, "li") && !f->item_is_default;
            if (wanted && (!f->item || is_default(item))) {
                f->item_is_default = is_default(item);
                f->item = item;
            }
        }
    }
}

static found find_text(const xmlNode *rdf, const struct text *t)
{
    found f = {.property = NULL};
    for (xmlNode *about = rdf->children; about && !f.property && !f.attribute; about = about->next) {
        if (!is_element(about, RDF, "Description"))
            continue;
        f.property = find_child(about, t->schema, t->name);
        if (!f.property)
            f.attribute = xmlHasNsProp(about, (const xmlChar *)t->name, (const xmlChar *)t->schema);
    }
    if (f.property)
        find_item(&f);
    if (f.item)
        f.text = (char *)xmlNodeGetContent(f.item);
    else if (f.property || f.attribute)
        f.text = (char *)xmlNodeGetContent(f.property ? f.property : (xmlNode *)f.attribute);
    if (is_blank(f.text)) {
        free(f.text);
        f.text = NULL;
    }
    return f;
}

bool metadata_is_complete(const char *bytes, size_t n, const char *description)
{
    xmlDoc *doc = parse(bytes, n);
    xmlNode *rdf = doc ? find_rdf(doc) : NULL;
    int n_there = 0;
    for (int i = 0; rdf && i < N_TEXTS; i++) {
        found f = find_text(rdf, &texts[i]);
        n_there += f.text || (i == 0 && !is_blank(description));
        free(f.text);
    }
    xmlFreeDoc(doc);
    return n_there == N_TEXTS;
}

char *metadata_description(const char *bytes, size_t n)
{
    xmlDoc *doc = parse(bytes, n);
    xmlNode *rdf = doc ? find_rdf(doc) : NULL;
    char *text = rdf ? find_text(rdf, &texts[0]).text : NULL;
    xmlFreeDoc(doc);
    return text;
}

/* A child in the namespace, which it declares if nobody has. `before`: where; NULL: at the end. NULL when out of memory. */
static xmlNode *add_child(xmlNode *to, xmlNode *before, const char *schema, const char *prefix, const char *name)
{
    xmlNode *child = xmlNewDocNode(to->doc, NULL, (const xmlChar *)name, NULL);
    if (!child)
        return NULL;
    if (before)
        xmlAddPrevSibling(before, child);
    else
        xmlAddChild(to, child);
    xmlNs *ns = xmlSearchNsByHref(to->doc, to, (const xmlChar *)schema);
    if (!ns)
        ns = xmlNewNs(child, (const xmlChar *)schema, (const xmlChar *)prefix);
    xmlSetNs(child, ns);
    return ns ? child : NULL;
}

/* A new item for x-default, first in its list. NULL when out of memory. */
static xmlNode *add_item(xmlNode *rdf, found *f, const struct text *t)
{
    xmlNode *list = f->item ? f->item->parent : NULL;
    if (!list) { /* in place of whatever it was */
        xmlNode *about = f->property ? f->property->parent : f->attribute ? f->attribute->parent : NULL;
        if (f->property) {
            xmlUnlinkNode(f->property);
            xmlFreeNode(f->property);
        } else if (f->attribute) {
            xmlRemoveProp(f->attribute);
        }
        if (!about)
            about = find_child(rdf, RDF, "Description");
        if (!about) {
            about = add_child(rdf, NULL, RDF, "rdf", "Description");
            if (about)
                xmlNewNsProp(about, about->ns, (const xmlChar *)"about", (const xmlChar *)"");
        }
        xmlNode *property = about ? add_child(about, NULL, t->schema, t->prefix, t->name) : NULL;
        list = property ? add_child(property, NULL, RDF, "rdf", "Alt") : NULL;
    }
    xmlNode *item = list ? add_child(list, list->children, RDF, "rdf", "li") : NULL;
    if (item)
        xmlNodeSetLang(item, (const xmlChar *)"x-default");
    return item;
}

static bool set_text(xmlNode *rdf, found *f, const struct text *t, const char *text)
{
    xmlNode *item = f->item_is_default ? f->item : add_item(rdf, f, t);
    if (!item)
        return false;
    xmlNodeSetContent(item, NULL);
    xmlNodeAddContent(item, (const xmlChar *)text);
    return item->children != NULL;
}

/* The text that stands there afterwards, malloc'ed; NULL when out of memory. */
static char *combine(const char *old, const char *caption, const char *existing)
{
    char *both = NULL;
    if (!old || strcmp(existing, "overwrite") == 0)
        return strdup(caption);
    if (strcmp(existing, "skip") == 0)
        return strdup(old);
    bool append = strcmp(existing, "append") == 0;
    return asprintf(&both, "%s\n%s", append ? old : caption, append ? caption : old) < 0 ? NULL : both;
}

/* What is no character in XML (2.2) becomes a space, or U+FFFD. */
static void clean(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p < ' ' && *p != '\t' && *p != '\n' && *p != '\r')
            *p = ' ';
        else if (*p >= 0xbe && p - (unsigned char *)text >= 2 && p[-1] == 0xbf && p[-2] == 0xef)
            *p = 0xbd;
    }
}

static bool merge(xmlNode *rdf, const char *description, const char *caption, const char *existing)
{
    bool done = true;
    for (int i = 0; i < N_TEXTS && done; i++) {
        found f = find_text(rdf, &texts[i]);
        const char *old = f.text ? f.text : i == 0 && !is_blank(description) ? description : NULL;
        char *text = combine(old, caption, existing);
        if (text)
            clean(text);
        done = text && ((f.text && strcmp(text, f.text) == 0) || set_text(rdf, &f, &texts[i], text));
        free(text);
        free(f.text);
    }
    return done;
}

/* malloc'ed; NULL when out of memory. */
static char *serialize(size_t *n_new, xmlDoc *doc, metadata_place place)
{
    xmlChar *whole = NULL;
    char *made = NULL;
    int n = 0;
    if (place == METADATA_BESIDE) {
        xmlDocDumpMemoryEnc(doc, &whole, &n, "UTF-8");
        made = whole ? strndup((const char *)whole, (size_t)n) : NULL;
        xmlFree(whole);
    } else {
        xmlBuffer *buffer = xmlBufferCreate();
        if (buffer && xmlNodeDump(buffer, doc, xmlDocGetRootElement(doc), 0, 0) > 0 &&
            asprintf(&made, WRAPPER_BEGIN "%s" WRAPPER_END, (const char *)xmlBufferContent(buffer)) < 0)
            made = NULL;
        xmlBufferFree(buffer);
    }
    if (made)
        *n_new = strlen(made);
    return made;
}

char *metadata_merge(const char *path, size_t *n_new, const char *old, size_t n_old, const char *description,
                     const char *caption, const char *existing, metadata_place place)
{
    xmlDoc *doc = old && n_old > 0 ? parse(old, n_old) : parse(EMPTY, strlen(EMPTY));
    xmlNode *rdf = doc ? find_rdf(doc) : NULL;
    char *made = NULL;
    if (!rdf)
        complain("%s: what is there is no XMP, so nothing is added to it", path);
    else if (!merge(rdf, description, caption, existing) || !(made = serialize(n_new, doc, place)))
        complain("%s: out of memory", path);
    xmlFreeDoc(doc);
    if (made && !metadata_is_complete(made, *n_new, NULL)) { /* it can be read back, or it is not written */
        complain("%s: what is there is no proper XMP, so nothing is added to it", path);
        free(made);
        made = NULL;
    }
    return made;
}
